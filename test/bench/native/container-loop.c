// The floor for a container's life: its folders and files made, mounted, unmounted, removed, with
// nothing around it.
//
//     container-loop steps|bare HOME COUNT PARENT LOWER...
//
// HOME, absolute, is an overlay2 home of the library's, PARENT the folder in it of the top layer,
// LOWER... the chain's short names in `l/`, nearest first.
//
// steps: what the driver's layout and protocol ask for: the parent's mark, a staging folder with
//        the layer's folders and files in it with exact modes, its short name, one rename; `merged`
//        only while mounted, by names; unmounted with its end left to a clone, which is closed;
//        then one rename to the trash, and deletion.
// bare:  four folders, mount(2), umount2, and the folders removed. No names, no locks: what a mount
// alone needs.
//
// Prints the nanoseconds of each life, one a line, then the names below the first container's root,
// sorted.
#define _GNU_SOURCE
#include <dirent.h>

#include "overlay.h"

struct chain {
  const char *parent;
  char **lowers;
  int lower_count;
  // The home with a slash after it, and the lowers' absolute names.
  char home[256];
  char **names;
};

static void make_folder(const char *path, mode_t mode) {
  check(mkdir(path, 0700), path);
  if (mode != 0700) check(chmod(path, mode), path);
}

static void write_file(const char *path, const char *content, mode_t mode) {
  int fd = (int)check(open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), path);
  check(write(fd, content, strlen(content)), path);
  if (mode != 0600) check(fchmod(fd, mode), path);
  close(fd);
}

static void mark_committed(const char *parent) {
  char path[256];
  snprintf(path, sizeof path, "%s/committed", parent);
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd >= 0)
    close(fd);
  else if (errno != EEXIST)
    err(1, "%s", path);
}

static void print_names(const char *path) {
  struct dirent **names;
  int count = (int)check(scandir(path, &names, NULL, alphasort), path);
  for (int i = 0; i < count; i++) {
    if (names[i]->d_name[0] != '.') printf("%s\n", names[i]->d_name);
    free(names[i]);
  }
  free(names);
}

// Names relative to the layer's folder, which is the working directory: "diff", "work", "merged".
static void remove_folders(const char *layer) {
  static const char *const folders[] = {"diff", "work/work", "work", ""};
  char path[256];
  for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
    snprintf(path, sizeof path, "%s/%s", layer, folders[i]);
    check(rmdir(path), path);
  }
}

static void unmount_leaving(const char *merged) {
  int rest =
      (int)check(syscall(SYS_open_tree, AT_FDCWD, merged, kOpenTreeClone | O_CLOEXEC), merged);
  check(umount2(merged, UMOUNT_NOFOLLOW), "umount2");
  check(rmdir(merged), "merged");
  close(rest);
}

static void unmount_whole(const char *merged) {
  check(umount2(merged, 0), "umount2");
  check(rmdir(merged), "merged");
}

// LAYER with what begins its name: nothing, or the way to it where names have to be absolute.
static void use(const char *layer, const struct chain *chain, int is_bare, int is_first) {
  char upper[512], work[512], merged[512];
  const char *home = is_bare ? "" : chain->home;
  snprintf(upper, sizeof upper, "%s%s/diff", home, layer);
  snprintf(work, sizeof work, "%s%s/work", home, layer);
  snprintf(merged, sizeof merged, "%s/merged", layer);
  struct layers layers = {upper, work, merged, is_bare ? chain->lowers : chain->names,
                          chain->lower_count};
  check(mkdir(merged, 0700), "merged");
  (is_bare ? mount_by_path : mount_by_name)(&layers);
  if (is_first) print_names(merged);
  (is_bare ? unmount_whole : unmount_leaving)(merged);
}

static void live_bare(const struct chain *chain, int i, int is_first) {
  char layer[64], path[128];
  snprintf(layer, sizeof layer, "bare-%d", i);
  make_folder(layer, 0700);
  snprintf(path, sizeof path, "%s/diff", layer);
  make_folder(path, 0755);
  snprintf(path, sizeof path, "%s/work", layer);
  make_folder(path, 0700);
  use(layer, chain, 1, is_first);
  remove_folders(layer);
}

static void create(const char *id, const char *link, const struct chain *chain, const char *lower) {
  char staging[128], path[256], target[256];
  snprintf(staging, sizeof staging, "staging/%s.new", id);
  mark_committed(chain->parent);
  make_folder(staging, 0710);
  snprintf(path, sizeof path, "%s/diff", staging);
  make_folder(path, 0755);
  snprintf(path, sizeof path, "%s/work", staging);
  make_folder(path, 0700);
  snprintf(path, sizeof path, "%s/lower", staging);
  write_file(path, lower, 0644);
  snprintf(path, sizeof path, "%s/link", staging);
  write_file(path, link, 0644);
  snprintf(path, sizeof path, "l/%s", link);
  snprintf(target, sizeof target, "../%s/diff", id);
  check(symlink(target, path), path);
  check(rename(staging, id), "rename");
}

static void drop(const char *id, const char *link) {
  char trash[128], path[256];
  snprintf(trash, sizeof trash, "trash/%.32s", id);
  check(rename(id, trash), "rename");
  snprintf(path, sizeof path, "l/%s", link);
  check(unlink(path), path);
  snprintf(path, sizeof path, "%s/lower", trash);
  check(unlink(path), path);
  snprintf(path, sizeof path, "%s/link", trash);
  check(unlink(path), path);
  remove_folders(trash);
}

static void live_steps(const struct chain *chain, const char *lower, int i, int is_first) {
  char id[65], link[27];
  snprintf(id, sizeof id, "%064x", i);
  snprintf(link, sizeof link, "%026d", i);
  create(id, link, chain, lower);
  use(id, chain, 0, is_first);
  drop(id, link);
}

int main(int argc, char **argv) {
  if (argc < 6) errx(2, "usage: container-loop steps|bare HOME COUNT PARENT LOWER...");
  int bare = strcmp(argv[1], "bare") == 0;
  int count = atoi(argv[3]);
  struct chain chain = {.parent = argv[4], .lowers = argv + 5, .lower_count = argc - 5};
  long long *taken = calloc((size_t)count, sizeof *taken);
  char lower[8192] = "";
  check(chdir(argv[2]), argv[2]);
  snprintf(chain.home, sizeof chain.home, "%s/", argv[2]);
  chain.names = calloc((size_t)chain.lower_count, sizeof *chain.names);
  for (int i = 0; i < chain.lower_count; i++) {
    size_t at = strlen(lower);
    snprintf(lower + at, sizeof lower - at, "%s%s", i ? ":" : "", chain.lowers[i]);
    check(asprintf(&chain.names[i], "%s%s", chain.home, chain.lowers[i]), "asprintf");
  }
  for (int i = 0; i < count; i++) {
    long long start = now();
    if (bare)
      live_bare(&chain, i, i == 0);
    else
      live_steps(&chain, lower, i, i == 0);
    taken[i] = now() - start;
  }
  for (int i = 0; i < count; i++) printf("%lld\n", taken[i]);
  free(taken);
  return 0;
}
