// The floor for a container's life at the driver: the folders, files and system calls of create, mount, unmount and
// remove on a chain of layers, one after the other, with nothing around them and no syncs.
//
//     create-loop HOME PARENT COUNT
//
// HOME is a driver's home, PARENT a layer in it. Prints the mean nanoseconds of one life, its deletion included.
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

// linux/mount.h and sys/mount.h can't be included together before glibc 2.36.
enum { kFsconfigSetString = 1, kFsconfigCreate = 6 };
enum { kMoveMountFEmptyPath = 4 };
enum { kMaxLower = 32 * 500, kWarmUp = 50 };

static const char *home;
static char lower[kMaxLower], link_name[32];

static long check(long result, const char *what) {
  if (result < 0) err(1, "%s", what);
  return result;
}

static void read_file(const char *path, char *text, size_t size) {
  int fd = (int)check(open(path, O_RDONLY | O_CLOEXEC), path);
  text[check(read(fd, text, size - 1), path)] = 0;
  close(fd);
}

// As the library: the exact mode, whatever the umask.
static void write_file(const char *path, const char *text) {
  int fd = (int)check(open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), path);
  check(write(fd, text, strlen(text)), path);
  check(fchmod(fd, 0644), path);
  close(fd);
}

static void make_folder(const char *path, mode_t mode) {
  check(mkdir(path, 0700), path);
  check(chmod(path, mode), path);
}

#define PATH(buffer, ...)                                                                     \
  do {                                                                                        \
    if (snprintf(buffer, sizeof buffer, __VA_ARGS__) >= (int)sizeof buffer) errx(1, "path");  \
  } while (0)

static void create(const char *parent, int i) {
  char path[512], target[512], parent_link[32], text[kMaxLower + 64], parents[kMaxLower];
  struct stat stat;
  PATH(path, "layer-%d", i);
  if (lstat(path, &stat) == 0) errx(1, "%s is there", path);
  PATH(path, "%s/link", parent);
  read_file(path, parent_link, sizeof parent_link);
  PATH(path, "%s/lower", parent);
  parents[0] = 0;
  if (lstat(path, &stat) == 0) read_file(path, parents, sizeof parents);
  PATH(text, "l/%s%s%s", parent_link, parents[0] ? ":" : "", parents);
  strcpy(lower, text);
  PATH(path, "%s/committed", parent);
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd >= 0) close(fd);
  PATH(path, "staging/%d.new", i);
  make_folder(path, 0710);
  PATH(path, "staging/%d.new/diff", i);
  make_folder(path, 0755);
  PATH(path, "staging/%d.new/work", i);
  make_folder(path, 0700);
  PATH(path, "staging/%d.new/lower", i);
  write_file(path, lower);
  PATH(link_name, "BENCH%021d", i);
  PATH(path, "staging/%d.new/link", i);
  write_file(path, link_name);
  PATH(path, "l/%s", link_name);
  PATH(target, "../layer-%d/diff", i);
  check(symlink(target, path), path);
  PATH(path, "staging/%d.new", i);
  PATH(target, "layer-%d", i);
  check(rename(path, target), target);
}

static void config(int fs, unsigned command, const char *key, const char *value) {
  check(syscall(SYS_fsconfig, fs, command, key, value, 0), key ? key : "create");
}

static void mount_layer(int i) {
  char path[512];
  PATH(path, "layer-%d/merged", i);
  check(mkdir(path, 0700), path);
  int fs = (int)check(syscall(SYS_fsopen, "overlay", 1), "fsopen");
  for (char *rest = lower, *name; (name = strsep(&rest, ":")) != NULL;) {
    PATH(path, "%s/%s", home, name);
    config(fs, kFsconfigSetString, "lowerdir+", path);
  }
  PATH(path, "%s/layer-%d/diff", home, i);
  config(fs, kFsconfigSetString, "upperdir", path);
  PATH(path, "%s/layer-%d/work", home, i);
  config(fs, kFsconfigSetString, "workdir", path);
  config(fs, kFsconfigSetString, "index", "off");
  config(fs, kFsconfigSetString, "redirect_dir", "nofollow");
  config(fs, kFsconfigSetString, "metacopy", "off");
  config(fs, kFsconfigCreate, NULL, NULL);
  int mnt = (int)check(syscall(SYS_fsmount, fs, 1, 0), "fsmount");
  struct statfs stat;
  check(fstatfs(mnt, &stat), "fstatfs");
  PATH(path, "layer-%d/merged", i);
  check(syscall(SYS_move_mount, mnt, "", AT_FDCWD, path, kMoveMountFEmptyPath), "move_mount");
  close(mnt);
  close(fs);
}

static void unmount_layer(int i) {
  char path[512];
  PATH(path, "layer-%d/merged", i);
  check(umount2(path, UMOUNT_NOFOLLOW), path);
  check(rmdir(path), path);
}

static void unlink_in(int i, const char *name, int flags) {
  char path[512];
  PATH(path, "trash/%d/%s", i, name);
  check(unlinkat(AT_FDCWD, path, flags), path);
}

static void remove_layer(int i) {
  char path[512], target[512];
  PATH(path, "layer-%d", i);
  PATH(target, "trash/%d", i);
  check(rename(path, target), path);
  PATH(path, "l/%s", link_name);
  check(unlink(path), path);
  unlink_in(i, "link", 0);
  unlink_in(i, "lower", 0);
  unlink_in(i, "diff", AT_REMOVEDIR);
  unlink_in(i, "work/work", AT_REMOVEDIR);
  unlink_in(i, "work", AT_REMOVEDIR);
  unlink_in(i, "", AT_REMOVEDIR);
}

static void live(const char *parent, int i) {
  create(parent, i);
  mount_layer(i);
  unmount_layer(i);
  remove_layer(i);
}

static long long now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(int argc, char **argv) {
  if (argc != 4) errx(2, "usage: create-loop HOME PARENT COUNT");
  home = argv[1];
  int count = atoi(argv[3]);
  check(chdir(home), home);
  for (int i = 0; i < kWarmUp; i++) live(argv[2], i);
  long long start = now();
  for (int i = 0; i < count; i++) live(argv[2], i);
  printf("%lld\n", (now() - start) / count);
  return 0;
}
