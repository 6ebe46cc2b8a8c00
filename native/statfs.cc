// statfs(2) and fstatfs(2), and syncfs(2) on the same file system.
#include <sys/statfs.h>
#include <unistd.h>

#include "args.h"
#include "job.h"
#include "register.h"

namespace overlaid {

// In this namespace, so that Job finds its ToJs.
struct FileSystem {
  struct statfs stat;
};

static Napi::Value ToJs(Napi::Env env, const FileSystem& file_system) {
  const auto& stat = file_system.stat;
  auto object = Napi::Object::New(env);
  // f_type is signed on some architectures, and magics such as btrfs's pass 2^31.
  object.Set("type", static_cast<double>(static_cast<uint32_t>(stat.f_type)));
  object.Set("blockSize", static_cast<double>(stat.f_bsize));
  object.Set("blocks", Napi::BigInt::New(env, static_cast<uint64_t>(stat.f_blocks)));
  object.Set("blocksFree", Napi::BigInt::New(env, static_cast<uint64_t>(stat.f_bfree)));
  object.Set("blocksAvailable", Napi::BigInt::New(env, static_cast<uint64_t>(stat.f_bavail)));
  object.Set("files", Napi::BigInt::New(env, static_cast<uint64_t>(stat.f_files)));
  object.Set("filesFree", Napi::BigInt::New(env, static_cast<uint64_t>(stat.f_ffree)));
  object.Set("nameMax", static_cast<double>(stat.f_namelen));
  object.Set("flags", static_cast<double>(stat.f_flags));
  return object;
}

namespace {

Napi::Value Statfs(const Napi::CallbackInfo& info) {
  Args args(info);
  auto path = args.Path("path");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "statfs", [path = std::move(path)]() -> Result<FileSystem> {
    FileSystem found{};
    if (RetryEintr([&] { return statfs(path.c_str(), &found.stat); }) == 0) return found;
    return SysError{.code = errno, .syscall = "statfs", .path = path};
  });
}

Napi::Value Fstatfs(const Napi::CallbackInfo& info) {
  Args args(info);
  const int fd = args.FdNumber("fd");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "fstatfs", [fd]() -> Result<FileSystem> {
    FileSystem found{};
    if (RetryEintr([&] { return fstatfs(fd, &found.stat); }) == 0) return found;
    return SysError{.code = errno, .syscall = "fstatfs"};
  });
}

Napi::Value Syncfs(const Napi::CallbackInfo& info) {
  Args args(info);
  const int fd = args.FdNumber("fd");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "syncfs", [fd]() -> Status {
    if (syncfs(fd) == 0) return Done{};
    return SysError{.code = errno, .syscall = "syncfs"};
  });
}

}  // namespace

void RegisterStatfs(Napi::Object exports) {
  Export(exports, "statfs", Statfs);
  Export(exports, "fstatfs", Fstatfs);
  Export(exports, "syncfs", Syncfs);
}

}  // namespace overlaid
