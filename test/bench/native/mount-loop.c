// The floor for mounting a container: the same system calls on the same folders, with nothing
// around them.
//
//     mount-loop fd|name|record|path HOME UPPER WORK MERGED COUNT LOWER...
//
// fd:     by descriptors.
// name:   by absolute names, as the library does where they fit.
// record: the same, with a small locked file that says so, from before the mount is attached until
// it is gone. path:   mount(2) with one string of names relative to HOME, as moby does.
//
// Prints the nanoseconds of each mount + unmount, one a line.
#define _GNU_SOURCE
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

static void drop_record(int fd) {
  check(unlink("record"), "unlink");
  close(fd);
}

int main(int argc, char **argv) {
  if (argc < 8) errx(2, "usage: mount-loop fd|name|record|path HOME UPPER WORK MERGED COUNT LOWER...");
  struct layers layers = {argv[3], argv[4], argv[5], argv + 7, argc - 7};
  void (*mount_layers)(const struct layers *) = strcmp(argv[1], "path") == 0 ? mount_by_path
                                                : strcmp(argv[1], "fd") == 0 ? mount_by_fd
                                                                             : mount_by_name;
  int with_record = strcmp(argv[1], "record") == 0;
  int count = atoi(argv[6]);
  check(chdir(argv[2]), argv[2]);
  for (int i = 0; i < count; i++) {
    long long start = now();
    // The library makes the folder at each mount and removes it after: `merged` exists only while
    // mounted.
    int record = with_record ? write_record() : -1;
    check(mkdir(layers.merged, 0700), "mkdir");
    mount_layers(&layers);
    check(umount2(layers.merged, 0), "umount2");
    check(rmdir(layers.merged), "rmdir");
    if (with_record) drop_record(record);
    printf("%lld\n", now() - start);
  }
  return 0;
}
