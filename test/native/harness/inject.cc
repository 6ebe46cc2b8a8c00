#include "inject.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>

namespace inject {
namespace {

thread_local bool armed = false;
thread_local int calls = 0, fail_at = 0, fail_code = 0;

bool Fails() {
  if (!armed || ++calls != fail_at) return false;
  errno = fail_code;
  return true;
}

}  // namespace

void Arm(int at, int code) {
  armed = true;
  calls = 0;
  fail_at = at;
  fail_code = code;
}

int Disarm() {
  armed = false;
  return calls;
}

}  // namespace inject

// NAME(parameters), arguments: the real one, unless its turn to fail has come.
#define WRAP(result, name, parameters, ...)    \
  extern "C" result __real_##name parameters;  \
  extern "C" result __wrap_##name parameters { \
    if (inject::Fails()) return -1;            \
    return __real_##name(__VA_ARGS__);         \
  }

WRAP(int, mkdirat, (int fd, const char* path, mode_t mode), fd, path, mode)
WRAP(int, symlinkat, (const char* target, int fd, const char* path), target, fd, path)
WRAP(int, mknodat, (int fd, const char* path, mode_t mode, dev_t dev), fd, path, mode, dev)
WRAP(int, linkat, (int from, const char* old, int to, const char* path, int flags), from, old, to,
     path, flags)
WRAP(int, unlinkat, (int fd, const char* path, int flags), fd, path, flags)
WRAP(int, renameat, (int from, const char* old, int to, const char* path), from, old, to, path)
WRAP(ssize_t, pwritev, (int fd, const iovec* data, int count, off_t offset), fd, data, count,
     offset)
WRAP(int, ftruncate, (int fd, off_t size), fd, size)
WRAP(int, fstat, (int fd, struct stat* stat), fd, stat)
WRAP(int, fchownat, (int fd, const char* path, uid_t uid, gid_t gid, int flags), fd, path, uid, gid,
     flags)
WRAP(int, fchmod, (int fd, mode_t mode), fd, mode)
WRAP(int, chmod, (const char* path, mode_t mode), path, mode)
WRAP(int, futimens, (int fd, const timespec* times), fd, times)
WRAP(int, utimensat, (int fd, const char* path, const timespec* times, int flags), fd, path, times,
     flags)
WRAP(int, fsetxattr, (int fd, const char* name, const void* value, size_t size, int flags), fd,
     name, value, size, flags)
WRAP(int, lsetxattr,
     (const char* path, const char* name, const void* value, size_t size, int flags), path, name,
     value, size, flags)

// Variadic: the last argument is read only where there is one, as the C library does.
extern "C" int __real_openat(int fd, const char* path, int flags, ...);
extern "C" int __wrap_openat(int fd, const char* path, int flags, unsigned mode) {
  if (inject::Fails()) return -1;
  return __real_openat(fd, path, flags, mode);
}
extern "C" int __real_fcntl(int fd, int command, ...);
extern "C" int __wrap_fcntl(int fd, int command, long argument) {
  if (inject::Fails()) return -1;
  return __real_fcntl(fd, command, argument);
}
extern "C" long __real_syscall(long number, ...);
extern "C" long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f) {
  if (inject::Fails()) return -1;
  return __real_syscall(number, a, b, c, d, e, f);
}
