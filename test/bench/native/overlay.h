// Mounting an overlay and telling the time, for the C loops beside this file.
#ifndef BENCH_OVERLAY_H
#define BENCH_OVERLAY_H

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

// linux/mount.h and sys/mount.h can't be included together before glibc 2.36.
enum { kFsconfigSetString = 1, kFsconfigSetFd = 5, kFsconfigCreate = 6 };
enum { kMoveMountFEmptyPath = 4, kOpenTreeClone = 1 };

struct layers {
  const char *upper, *work, *merged;
  char **lowers;
  int lower_count;
};

static inline long check(long result, const char *what) {
  if (result < 0) err(1, "%s", what);
  return result;
}

static inline long long now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static inline void config(int fs, unsigned command, const char *key, const char *value, int aux) {
  check(syscall(SYS_fsconfig, fs, command, key, value, aux), key ? key : "create");
}

static inline void config_fd(int fs, const char *key, const char *path) {
  int fd = (int)check(open(path, O_PATH | O_DIRECTORY | O_CLOEXEC), path);
  config(fs, kFsconfigSetFd, key, NULL, fd);
  close(fd);
}

static inline void config_name(int fs, const char *key, const char *path) {
  config(fs, kFsconfigSetString, key, path, 0);
}

static inline void mount_by_fsopen(const struct layers *layers,
                                   void (*config_layer)(int, const char *, const char *)) {
  int fs = (int)check(syscall(SYS_fsopen, "overlay", 1), "fsopen");
  for (int i = 0; i < layers->lower_count; i++) config_layer(fs, "lowerdir+", layers->lowers[i]);
  config_layer(fs, "upperdir", layers->upper);
  config_layer(fs, "workdir", layers->work);
  config(fs, kFsconfigSetString, "index", "off", 0);
  config(fs, kFsconfigSetString, "redirect_dir", "nofollow", 0);
  config(fs, kFsconfigSetString, "metacopy", "off", 0);
  config(fs, kFsconfigCreate, NULL, NULL, 0);
  int mnt = (int)check(syscall(SYS_fsmount, fs, 1, 0), "fsmount");
  check(syscall(SYS_move_mount, mnt, "", AT_FDCWD, layers->merged, kMoveMountFEmptyPath),
        "move_mount");
  close(mnt);
  close(fs);
}

// Each layer by an open descriptor (6.13), then move_mount.
static inline void mount_by_fd(const struct layers *layers) { mount_by_fsopen(layers, config_fd); }

// What the library does where the names fit: each layer by its absolute name (6.8), then move_mount.
static inline void mount_by_name(const struct layers *layers) {
  mount_by_fsopen(layers, config_name);
}

// mount(2) with one string of names relative to the working directory, as moby does.
static inline void mount_by_path(const struct layers *layers) {
  char options[4096];
  int at = snprintf(options, sizeof options,
                    "index=off,upperdir=%s,workdir=%s,lowerdir=", layers->upper, layers->work);
  for (int i = 0; i < layers->lower_count; i++) {
    at += snprintf(options + at, sizeof options - (size_t)at, "%s%s", i ? ":" : "",
                   layers->lowers[i]);
    if (at >= (int)sizeof options) errx(1, "the options pass a page");
  }
  check(mount("overlay", layers->merged, "overlay", 0, options), "mount");
}

#endif
