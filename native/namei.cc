// Opening, making, moving and removing single names.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "args.h"
#include "compat.h"
#include "job.h"
#include "register.h"

namespace overlaid {
namespace {

Napi::Value Openat(const Napi::CallbackInfo& info) {
  Args args(info);
  const int dirfd = args.FdNumber("dirfd");
  auto path = args.Path("path");
  const int flags = args.Integer<int>("flags");
  const auto mode = args.Integer<uint32_t>("mode");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "openat", [=]() -> Result<Fd> {
    Fd fd(RetryEintr([&] { return openat(dirfd, path.c_str(), flags | O_CLOEXEC, mode); }));
    if (fd) return fd;
    return SysError{
        .code = errno, .syscall = "openat", .path = path, .flags = static_cast<uint64_t>(flags)};
  });
}

Napi::Value Mknodat(const Napi::CallbackInfo& info) {
  Args args(info);
  const int dirfd = args.FdNumber("dirfd");
  auto path = args.Path("path");
  const auto mode = args.Integer<uint32_t>("mode");
  const auto major_number = args.Integer<uint32_t>("major");
  const auto minor_number = args.Integer<uint32_t>("minor");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "mknodat", [=]() -> Status {
    if (mknodat(dirfd, path.c_str(), mode, makedev(major_number, minor_number)) == 0) return Done{};
    return SysError{.code = errno, .syscall = "mknodat", .path = path};
  });
}

Napi::Value Mkdirat(const Napi::CallbackInfo& info) {
  Args args(info);
  const int dirfd = args.FdNumber("dirfd");
  auto path = args.Path("path");
  const auto mode = args.Integer<uint32_t>("mode");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "mkdirat", [=]() -> Status {
    if (mkdirat(dirfd, path.c_str(), mode) == 0) return Done{};
    return SysError{.code = errno, .syscall = "mkdirat", .path = path};
  });
}

Napi::Value Unlinkat(const Napi::CallbackInfo& info) {
  Args args(info);
  const int dirfd = args.FdNumber("dirfd");
  auto path = args.Path("path");
  const int flags = args.Integer<int>("flags");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "unlinkat", [=]() -> Status {
    if (unlinkat(dirfd, path.c_str(), flags) == 0) return Done{};
    return SysError{.code = errno, .syscall = "unlinkat", .path = path};
  });
}

Napi::Value Renameat2(const Napi::CallbackInfo& info) {
  Args args(info);
  const int old_dirfd = args.FdNumber("oldDirfd");
  auto old_path = args.Path("old");
  const int new_dirfd = args.FdNumber("newDirfd");
  auto new_path = args.Path("path");
  const auto flags = args.Integer<uint32_t>("flags");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "renameat2", [=]() -> Status {
    // By number: musl has no wrapper.
    if (syscall(SYS_renameat2, old_dirfd, old_path.c_str(), new_dirfd, new_path.c_str(), flags) ==
        0) {
      return Done{};
    }
    return SysError{
        .code = errno, .syscall = "renameat2", .path = old_path, .dest = new_path, .flags = flags};
  });
}

}  // namespace

void RegisterNamei(Napi::Object exports) {
  Export(exports, "openat", Openat);
  Export(exports, "mknodat", Mknodat);
  Export(exports, "mkdirat", Mkdirat);
  Export(exports, "unlinkat", Unlinkat);
  Export(exports, "renameat2", Renameat2);
}

}  // namespace overlaid
