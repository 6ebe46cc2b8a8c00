#include "new_mount.h"

#include <fcntl.h>

#include "statx.h"

namespace overlaid {

Result<NewMount> Described(Fd fd) {
  struct statfs stat {};
  if (RetryEintr([&] { return fstatfs(fd.get(), &stat); }) != 0) {
    return SysError{.code = errno, .syscall = "fstatfs"};
  }
  sys::Statx root{};
  if (StatAt(fd.get(), "", AT_EMPTY_PATH, &root) != 0) {
    return SysError{.code = errno, .syscall = "statx"};
  }
  return NewMount{.fd = std::move(fd), .stat = stat, .id = root.mnt_id};
}

Napi::Object ToJs(Napi::Env env, NewMount& mount) {
  auto object = Napi::Object::New(env);
  object.Set("fd", ToJs(env, mount.fd));
  // f_type is signed on some architectures, and magics such as btrfs's pass 2^31.
  object.Set("type", static_cast<double>(static_cast<uint32_t>(mount.stat.f_type)));
  object.Set("flags", static_cast<double>(mount.stat.f_flags));
  object.Set("mountID", ToJs(env, mount.id));
  return object;
}

}  // namespace overlaid
