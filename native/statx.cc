#include "statx.h"

#include <fcntl.h>

#include "args.h"
#include "job.h"
#include "register.h"

namespace overlaid {

int StatAt(int dirfd, const char* path, int flags, sys::Statx* stat) {
  // Unknown mask bits are ignored before the kernel that brought them; the result's mask tells.
  constexpr unsigned kMask = sys::kStatxBasicStats | sys::kStatxMntId | sys::kStatxMntIdUnique;
  return static_cast<int>(
      RetryEintr([&] { return syscall(SYS_statx, dirfd, path, flags, kMask, stat); }));
}

Napi::Value ToJs(Napi::Env env, const sys::Statx& stat) {
  auto object = Napi::Object::New(env);
  const auto number = [&](const char* name, auto value) {
    object.Set(name, Napi::Number::New(env, static_cast<double>(value)));
  };
  number("mode", stat.mode);
  number("uid", stat.uid);
  number("gid", stat.gid);
  number("nlink", stat.nlink);
  object.Set("ino", Napi::BigInt::New(env, stat.ino));
  number("size", stat.size);
  number("blocks", stat.blocks);
  number("mtimeSec", stat.mtime.sec);
  number("mtimeNsec", stat.mtime.nsec);
  number("ctimeSec", stat.ctime.sec);
  number("ctimeNsec", stat.ctime.nsec);
  number("devMajor", stat.dev_major);
  number("devMinor", stat.dev_minor);
  number("rdevMajor", stat.rdev_major);
  number("rdevMinor", stat.rdev_minor);
  object.Set("attributes", Napi::BigInt::New(env, stat.attributes));
  object.Set("mountID", Napi::BigInt::New(env, stat.mnt_id));
  object.Set("mountIDUnique", (stat.mask & sys::kStatxMntIdUnique) != 0);
  return object;
}

namespace {

Napi::Value Statx(const Napi::CallbackInfo& info) {
  Args args(info);
  const int dirfd = args.FdNumber("dirfd");
  auto path = args.Path("path");
  const int flags = args.Integer<int>("flags");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "statx", [=]() -> Result<sys::Statx> {
    sys::Statx stat{};
    if (StatAt(dirfd, path.c_str(), flags, &stat) == 0) return stat;
    return SysError{
        .code = errno, .syscall = "statx", .path = path, .flags = static_cast<uint64_t>(flags)};
  });
}

}  // namespace

void RegisterStatx(Napi::Object exports) { Export(exports, "statx", Statx); }

}  // namespace overlaid
