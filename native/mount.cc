// mount(2) and umount2(2).
#include <fcntl.h>
#include <sys/mount.h>

#include "args.h"
#include "job.h"
#include "register.h"
#include "statx.h"

namespace overlaid {
namespace {

Napi::Value Mount(const Napi::CallbackInfo& info) {
  Args args(info);
  auto source = args.Path("source");
  auto target = args.Path("target");
  auto type = args.Text("type");
  const auto flags = args.Integer<uint32_t>("flags");
  auto data = args.Path("data");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "mount", [=]() -> Status {
    if (mount(source.c_str(), target.c_str(), type.c_str(), flags, data.c_str()) == 0) {
      return Done{};
    }
    return SysError{
        .code = errno, .syscall = "mount", .path = source, .dest = target, .flags = flags};
  });
}

Status Unmount(const std::string& target, int flags) {
  if (umount2(target.c_str(), flags) == 0) return Done{};
  return SysError{
      .code = errno, .syscall = "umount2", .path = target, .flags = static_cast<uint64_t>(flags)};
}

Napi::Value Umount2(const Napi::CallbackInfo& info) {
  Args args(info);
  auto target = args.Path("target");
  const int flags = args.Integer<int>("flags");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "umount2",
                [target = std::move(target), flags] { return Unmount(target, flags); });
}

// The id of the mount whose root is at `target`; none where that is no mount's root. What the
// kernel knows by itself will do: a FUSE mount whose process died answers nothing else.
Result<std::optional<uint64_t>> MountAt(const std::string& target) {
  sys::Statx stat{};
  constexpr int kFlags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC;
  if (StatAt(AT_FDCWD, target.c_str(), kFlags, &stat) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return std::optional<uint64_t>{};
    return SysError{.code = errno, .syscall = "statx", .path = target};
  }
  if ((stat.attributes & sys::kStatxAttrMountRoot) == 0) return std::optional<uint64_t>{};
  return std::optional<uint64_t>{stat.mnt_id};
}

// Unmounts `target`, if that is the mount `id`, and gives what its super block goes on living by, a
// detached clone of the mount. Closing that ends the super block, and so waits for the sync of what
// an overlay's upper is on. Nothing is undone where the mount cannot be cloned (an unbindable one).
Result<std::optional<Fd>> UnmountLeaving(const std::string& target, std::optional<uint64_t> id,
                                         int flags) {
  if (id) {
    auto found = MountAt(target);
    if (!found) return found.error();
    if (*found != id) return std::optional<Fd>{};
  }
  constexpr auto kFlags = sys::kOpenTreeClone | O_CLOEXEC | AT_SYMLINK_NOFOLLOW;
  Fd rest(static_cast<int>(syscall(sys::kOpenTree, AT_FDCWD, target.c_str(), kFlags)));
  if (!rest) return std::optional<Fd>{};
  if (auto undone = Unmount(target, flags); !undone) return undone.error();
  return std::optional<Fd>{std::move(rest)};
}

Napi::Value UnmountLeavingNow(const Napi::CallbackInfo& info) {
  Args args(info);
  auto target = args.Path("target");
  const auto id = args.OptionalBigInt("mountID");
  const int flags = args.Integer<int>("flags");
  if (args.Failed()) return args.Throw();
  return RunNow(info.Env(), [&] { return UnmountLeaving(target, id, flags); });
}

Napi::Value UnmountIf(const Napi::CallbackInfo& info) {
  Args args(info);
  auto target = args.Path("target");
  const auto id = args.BigInt("mountID");
  const int flags = args.Integer<int>("flags");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "umount2", [=]() -> Result<std::optional<uint64_t>> {
    auto found = MountAt(target);
    if (!found || *found != id) return found;
    if (auto undone = Unmount(target, flags); !undone) return undone.error();
    return found;
  });
}

}  // namespace

void RegisterMount(Napi::Object exports) {
  Export(exports, "mount", Mount);
  Export(exports, "umount2", Umount2);
  Export(exports, "unmountIf", UnmountIf);
  Export(exports, "unmountLeavingNow", UnmountLeavingNow);
}

}  // namespace overlaid
