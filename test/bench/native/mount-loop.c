// The floor for mounting a container: the same system calls on the same folders, with nothing
// around them.
//
//     mount-loop fd|name|driver|record|path HOME UPPER WORK MERGED COUNT LOWER...
//
// By descriptors (fd); by absolute names, as the library does where they fit (name); so, and with
// what the library's driver looks at before and after (driver); by names with a small locked file
// that says so, from before the mount is attached until it is gone (record); by mount(2) with one
// string of names relative to HOME, as moby does (path).
//
// Prints the nanoseconds of each mount + unmount, one a line.
#define _GNU_SOURCE
#include <sys/statfs.h>

#include "overlay.h"

// What makes the mount's end find its way to disk: the kernel syncs the upper's file system in it,
// this file too.
static int write_record(void) {
  static const char content[365];
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  int fd = (int)check(open(".record", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600), ".record");
  check(fcntl(fd, F_OFD_SETLK, &lock), "lock");
  check(write(fd, content, sizeof content), "write");
  check(rename(".record", "record"), "rename");
  return fd;
}

// Whether it is mounted, what it is made of, and what marks it has: most of these are missing.
static void look_at_layer(const char *upper, const char *merged) {
  static const char *const marks[] = {"idmap", "committed", "features",
                                      "work/work/incompat/volatile"};
  char path[4096], content[8192];
  struct stat found;
  int folder = (int)(strrchr(upper, '/') - upper);
  lstat(merged, &found);
  snprintf(path, sizeof path, "%.*s/lower", folder, upper);
  int fd = (int)check(open(path, O_RDONLY | O_CLOEXEC), path);
  while (check(read(fd, content, sizeof content), "read") > 0) continue;
  close(fd);
  for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
    snprintf(path, sizeof path, "%.*s/%s", folder, upper, marks[i]);
    lstat(path, &found);
  }
}

// Whether what is mounted is what was asked for, and by which id.
static void look_at_mount(const char *merged) {
  struct statfs fs;
  struct statx mount;
  check(statfs(merged, &fs), "statfs");
  check(statx(AT_FDCWD, merged, 0, STATX_BASIC_STATS | STATX_MNT_ID, &mount), "statx");
}

static void drop_record(int fd) {
  check(unlink("record"), "unlink");
  close(fd);
}

int main(int argc, char **argv) {
  if (argc < 8)
    errx(2, "usage: mount-loop fd|name|driver|record|path HOME UPPER WORK MERGED COUNT LOWER...");
  struct layers layers = {argv[3], argv[4], argv[5], argv + 7, argc - 7};
  void (*mount_layers)(const struct layers *) = strcmp(argv[1], "path") == 0 ? mount_by_path
                                                : strcmp(argv[1], "fd") == 0 ? mount_by_fd
                                                                             : mount_by_name;
  int with_looks = strcmp(argv[1], "driver") == 0;
  int with_record = strcmp(argv[1], "record") == 0;
  int count = atoi(argv[6]);
  check(chdir(argv[2]), argv[2]);
  for (int i = 0; i < count; i++) {
    long long start = now();
    // The library makes the folder at each mount and removes it after: `merged` exists only while
    // mounted.
    int record = with_record ? write_record() : -1;
    if (with_looks) look_at_layer(layers.upper, layers.merged);
    check(mkdir(layers.merged, 0700), "mkdir");
    mount_layers(&layers);
    if (with_looks) look_at_mount(layers.merged);
    check(umount2(layers.merged, 0), "umount2");
    check(rmdir(layers.merged), "rmdir");
    if (with_record) drop_record(record);
    printf("%lld\n", now() - start);
  }
  return 0;
}
