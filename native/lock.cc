// Locks that belong to an open file description: the kernel releases them when the last descriptor
// is closed, however the process ends. fcntl(F_OFD_SETLK) for our own, flock(2) to notice
// dockerd's. Neither waits.
#include <fcntl.h>
#include <sys/file.h>

#include "args.h"
#include "job.h"
#include "register.h"

namespace overlaid {
namespace {

enum class LockKind { kRead, kWrite, kUnlock };

LockKind ReadKind(Args& args) {
  const auto kind = args.Text("kind");
  if (kind == "read") return LockKind::kRead;
  if (kind == "write") return LockKind::kWrite;
  if (kind != "unlock") args.Fail("kind", "'read', 'write' or 'unlock'");
  return LockKind::kUnlock;
}

short FcntlType(LockKind kind) {
  if (kind == LockKind::kRead) return F_RDLCK;
  return kind == LockKind::kWrite ? F_WRLCK : F_UNLCK;
}

int FlockOperation(LockKind kind) {
  if (kind == LockKind::kRead) return LOCK_SH | LOCK_NB;
  return kind == LockKind::kWrite ? LOCK_EX | LOCK_NB : LOCK_UN;
}

Napi::Value OfdLock(const Napi::CallbackInfo& info) {
  Args args(info);
  const int fd = args.FdNumber("fd");
  const auto kind = ReadKind(args);
  if (args.Failed()) return args.Throw();
  return RunNow(info.Env(), [fd, kind]() -> Result<bool> {
    struct flock lock {};
    lock.l_type = FcntlType(kind);
    lock.l_whence = SEEK_SET;
    if (RetryEintr([&] { return fcntl(fd, F_OFD_SETLK, &lock); }) == 0) return true;
    if (errno == EAGAIN || errno == EACCES) return false;
    return SysError{.code = errno, .syscall = "fcntl"};
  });
}

Napi::Value Flock(const Napi::CallbackInfo& info) {
  Args args(info);
  const int fd = args.FdNumber("fd");
  const auto kind = ReadKind(args);
  if (args.Failed()) return args.Throw();
  return RunNow(info.Env(), [fd, kind]() -> Result<bool> {
    if (RetryEintr([&] { return flock(fd, FlockOperation(kind)); }) == 0) return true;
    if (errno == EWOULDBLOCK) return false;
    return SysError{.code = errno, .syscall = "flock"};
  });
}

}  // namespace

void RegisterLock(Napi::Object exports) {
  Export(exports, "ofdLock", OfdLock);
  Export(exports, "flock", Flock);
}

}  // namespace overlaid
