// What a container changed, by walking its merged tree and its image's beside each other, as moby
// does where it can't use the upper directory (archive.ChangesDirs).
//
//     walk-both MERGED IMAGE COUNT
//
// Does it COUNT times. Prints the nanoseconds of each, one a line, then "A /path", "C /path" or "D
// /path" of each change that the last one found, sorted by path.
#define _GNU_SOURCE
#include <dirent.h>

#include "overlay.h"

struct list {
  char **lines;
  size_t count, room;
};

static void add(struct list *list, char kind, const char *path) {
  if (list->count == list->room) {
    list->room = list->room ? 2 * list->room : 256;
    list->lines = realloc(list->lines, list->room * sizeof *list->lines);
    if (!list->lines) err(1, "realloc");
  }
  if (asprintf(&list->lines[list->count++], "%c %s", kind, path) < 0) err(1, "asprintf");
}

static void clear(struct list *list) {
  for (size_t i = 0; i < list->count; i++) free(list->lines[i]);
  list->count = 0;
}

static int by_path(const void *a, const void *b) {
  return strcmp(*(char *const *)a + 1, *(char *const *)b + 1);
}

// moby's sameFsTime: what an archive cut to whole seconds is equal to any fraction of them.
static int same_time(struct timespec a, struct timespec b) {
  return a.tv_sec == b.tv_sec && (a.tv_nsec == b.tv_nsec || a.tv_nsec == 0 || b.tv_nsec == 0);
}

static int differs(const struct stat *a, const struct stat *b) {
  if (a->st_mode != b->st_mode || a->st_uid != b->st_uid || a->st_gid != b->st_gid) return 1;
  // A folder's size and time are what its entries made of them.
  return !S_ISDIR(a->st_mode) && (a->st_rdev != b->st_rdev || a->st_size != b->st_size ||
                                  !same_time(a->st_mtim, b->st_mtim));
}

static int is_entry(const struct dirent *entry) {
  return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

static int entries_of(const char *path, struct dirent ***entries) {
  int count = scandir(path, entries, is_entry, NULL);
  if (count < 0 && errno != ENOENT && errno != ENOTDIR) err(1, "%s", path);
  if (count < 0) *entries = NULL;
  return count < 0 ? 0 : count;
}

static void free_entries(struct dirent **entries, int count) {
  for (int i = 0; i < count; i++) free(entries[i]);
  free(entries);
}

// `path` is the place in both trees, from the root. Returns whether anything in the folder changed.
static int walk(const char *merged, const char *image, const char *path, struct list *list) {
  size_t before = list->count;
  struct dirent **entries;
  char here[4096], there[4096], name[4096];
  struct stat now_stat, then;
  snprintf(here, sizeof here, "%s%s", merged, path);
  snprintf(there, sizeof there, "%s%s", image, path);
  int count = entries_of(here, &entries);
  for (int i = 0; i < count; i++) {
    snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name);
    snprintf(here, sizeof here, "%s%s", merged, name);
    snprintf(there, sizeof there, "%s%s", image, name);
    check(lstat(here, &now_stat), here);
    int was_there = lstat(there, &then) == 0;
    int below = S_ISDIR(now_stat.st_mode) && walk(merged, image, name, list);
    if (!was_there)
      add(list, 'A', name);
    else if (below || differs(&now_stat, &then))
      add(list, 'C', name);
  }
  free_entries(entries, count);
  snprintf(there, sizeof there, "%s%s", image, path);
  count = entries_of(there, &entries);
  for (int i = 0; i < count; i++) {
    snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name);
    snprintf(here, sizeof here, "%s%s", merged, name);
    if (lstat(here, &now_stat) != 0) add(list, 'D', name);
  }
  free_entries(entries, count);
  return list->count > before;
}

int main(int argc, char **argv) {
  if (argc != 4) errx(2, "usage: walk-both MERGED IMAGE COUNT");
  struct list list = {0};
  for (int i = 0; i < atoi(argv[3]); i++) {
    clear(&list);
    long long start = now();
    walk(argv[1], argv[2], "", &list);
    qsort(list.lines, list.count, sizeof *list.lines, by_path);
    printf("%lld\n", now() - start);
  }
  for (size_t i = 0; i < list.count; i++) puts(list.lines[i]);
  clear(&list);
  free(list.lines);
  return 0;
}
