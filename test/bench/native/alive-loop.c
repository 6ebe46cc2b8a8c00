// What the mounts that are there cost another one: the kernel's share.
//
//     alive-loop HOME ALIVE WARM_UP COUNT LOWER...
//
// HOME is a folder to work in, from which LOWER... are seen. Mounts ALIVE overlays, each with an
// upper of its own, then mounts and unmounts another one, WARM_UP times and COUNT times; unmounts
// all. Prints the nanoseconds of each of the COUNT, one a line.
#define _GNU_SOURCE
#include "overlay.h"

struct place {
  char upper[64], work[64], merged[64];
};

static struct layers make(struct place *place, int i, char **lowers, int lower_count) {
  snprintf(place->upper, sizeof place->upper, "upper-%d", i);
  snprintf(place->work, sizeof place->work, "work-%d", i);
  snprintf(place->merged, sizeof place->merged, "merged-%d", i);
  check(mkdir(place->upper, 0755), place->upper);
  check(mkdir(place->work, 0700), place->work);
  return (struct layers){place->upper, place->work, place->merged, lowers, lower_count};
}

static void attach(const struct layers *layers) {
  check(mkdir(layers->merged, 0700), layers->merged);
  mount_by_fd(layers);
}

static void detach(const char *merged) {
  check(umount2(merged, 0), merged);
  check(rmdir(merged), merged);
}

int main(int argc, char **argv) {
  if (argc < 6) errx(2, "usage: alive-loop HOME ALIVE WARM_UP COUNT LOWER...");
  int alive = atoi(argv[2]), warm_up = atoi(argv[3]), count = atoi(argv[4]);
  check(chdir(argv[1]), argv[1]);
  struct place place;
  for (int i = 0; i < alive; i++) {
    struct layers layers = make(&place, i, argv + 5, argc - 5);
    attach(&layers);
  }
  struct layers layers = make(&place, alive, argv + 5, argc - 5);
  for (int i = 0; i < warm_up + count; i++) {
    long long start = now();
    attach(&layers);
    detach(layers.merged);
    if (i >= warm_up) printf("%lld\n", now() - start);
  }
  for (int i = alive - 1; i >= 0; i--) {
    char merged[64];
    snprintf(merged, sizeof merged, "merged-%d", i);
    detach(merged);
  }
  return 0;
}
