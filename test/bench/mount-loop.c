// The floor for mounting a container: the same system calls on the same folders, with nothing around them.
//
//     mount-loop fd|name|record|path HOME UPPER WORK MERGED COUNT LOWER...
//
// fd:     each layer by an open descriptor (6.13), then move_mount.
// name:   what the library does where the names fit: each layer by its absolute name (6.8), then move_mount.
// record: the same, with a small locked file that says so, from before the mount is attached until it is gone.
// path:   mount(2) with one string of names relative to HOME, as moby does.
//
// Prints the nanoseconds of each mount + unmount, one a line.
#define _GNU_SOURCE
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
enum { kFsconfigSetFlag = 0, kFsconfigSetString = 1, kFsconfigSetFd = 5, kFsconfigCreate = 6 };
enum { kMoveMountFEmptyPath = 4 };

struct job {
  const char *upper, *work, *merged;
  char **lowers;
  int lower_count;
  char options[4096];
};

static long check(long result, const char *what) {
  if (result < 0) err(1, "%s", what);
  return result;
}

static void config(int fs, unsigned command, const char *key, const char *value, int aux) {
  check(syscall(SYS_fsconfig, fs, command, key, value, aux), key ? key : "create");
}

static void config_fd(int fs, const char *key, const char *path) {
  int fd = (int)check(open(path, O_PATH | O_DIRECTORY | O_CLOEXEC), path);
  config(fs, kFsconfigSetFd, key, NULL, fd);
  close(fd);
}

// What makes the mount's end find its way to disk: the kernel syncs the upper's file system in it, this file too.
static int write_record(void) {
  static const char content[365];
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  int fd = (int)check(open(".record", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600), ".record");
  check(fcntl(fd, F_OFD_SETLK, &lock), "lock");
  check(write(fd, content, sizeof content), "write");
  check(rename(".record", "record"), "rename");
  return fd;
}

static void drop_record(int fd) {
  check(unlink("record"), "unlink");
  close(fd);
}

static void config_name(int fs, const char *key, const char *path) { config(fs, kFsconfigSetString, key, path, 0); }

static void mount_by_fsopen(const struct job *job, void (*config_layer)(int, const char *, const char *)) {
  int fs = (int)check(syscall(SYS_fsopen, "overlay", 1), "fsopen");
  for (int i = 0; i < job->lower_count; i++) config_layer(fs, "lowerdir+", job->lowers[i]);
  config_layer(fs, "upperdir", job->upper);
  config_layer(fs, "workdir", job->work);
  config(fs, kFsconfigSetString, "index", "off", 0);
  config(fs, kFsconfigSetString, "redirect_dir", "nofollow", 0);
  config(fs, kFsconfigSetString, "metacopy", "off", 0);
  config(fs, kFsconfigCreate, NULL, NULL, 0);
  int mnt = (int)check(syscall(SYS_fsmount, fs, 1, 0), "fsmount");
  check(syscall(SYS_move_mount, mnt, "", AT_FDCWD, job->merged, kMoveMountFEmptyPath), "move_mount");
  close(mnt);
  close(fs);
}

static void mount_by_fd(const struct job *job) { mount_by_fsopen(job, config_fd); }

static void mount_by_name(const struct job *job) { mount_by_fsopen(job, config_name); }

static void mount_by_path(const struct job *job) {
  check(mount("overlay", job->merged, "overlay", 0, job->options), "mount");
}

static void join_options(struct job *job) {
  int at = snprintf(job->options, sizeof job->options, "index=off,upperdir=%s,workdir=%s,lowerdir=", job->upper,
                    job->work);
  for (int i = 0; i < job->lower_count; i++) {
    at += snprintf(job->options + at, sizeof job->options - (size_t)at, "%s%s", i ? ":" : "", job->lowers[i]);
    if (at >= (int)sizeof job->options) errx(1, "the options pass a page");
  }
}

static long long now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(int argc, char **argv) {
  if (argc < 8) errx(2, "usage: mount-loop fd|name|record|path HOME UPPER WORK MERGED COUNT LOWER...");
  struct job job = {argv[3], argv[4], argv[5], argv + 7, argc - 7, {0}};
  int by_path = strcmp(argv[1], "path") == 0;
  void (*mount_layers)(const struct job *) = by_path                      ? mount_by_path
                                             : strcmp(argv[1], "fd") == 0 ? mount_by_fd
                                                                          : mount_by_name;
  int with_record = strcmp(argv[1], "record") == 0;
  int count = atoi(argv[6]);
  check(chdir(argv[2]), argv[2]);
  if (by_path) join_options(&job);
  for (int i = 0; i < count; i++) {
    long long start = now();
    // The library makes the folder at each mount and removes it after: `merged` exists only while mounted.
    int record = with_record ? write_record() : -1;
    check(mkdir(job.merged, 0700), "mkdir");
    mount_layers(&job);
    check(umount2(job.merged, 0), "umount2");
    check(rmdir(job.merged), "rmdir");
    if (with_record) drop_record(record);
    printf("%lld\n", now() - start);
  }
  return 0;
}
