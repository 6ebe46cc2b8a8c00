// Work in another mount namespace. setns(CLONE_NEWNS) is per thread and EINVAL while the thread
// shares its working directory and root with others, so each runs on a thread of its own after
// unshare(CLONE_FS).
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>

#include "args.h"
#include "compat.h"
#include "job.h"
#include "register.h"
#include "thread_job.h"

namespace overlaid {
namespace {

Status EnterMountNamespace(int ns_fd) {
  if (unshare(CLONE_FS) != 0) return SysError{.code = errno, .syscall = "unshare"};
  if (setns(ns_fd, CLONE_NEWNS) != 0) return SysError{.code = errno, .syscall = "setns"};
  return Done{};
}

Napi::Value MoveMountInto(const Napi::CallbackInfo& info) {
  Args args(info);
  const int ns_fd = args.FdNumber("nsFd");
  const int tree_fd = args.FdNumber("treeFd");
  auto target = args.Path("target");
  if (args.Failed()) return args.Throw();
  return RunJobOnOwnThread(info.Env(), "move_mount", [=]() -> Status {
    if (auto entered = EnterMountNamespace(ns_fd); !entered) return entered;
    if (syscall(sys::kMoveMount, tree_fd, "", AT_FDCWD, target.c_str(),
                sys::kMoveMountFEmptyPath) == 0) {
      return Done{};
    }
    return SysError{.code = errno,
                    .syscall = "move_mount",
                    .path = "",
                    .dest = target,
                    .flags = sys::kMoveMountFEmptyPath};
  });
}

Napi::Value Umount2In(const Napi::CallbackInfo& info) {
  Args args(info);
  const int ns_fd = args.FdNumber("nsFd");
  auto target = args.Path("target");
  const int flags = args.Integer<int>("flags");
  if (args.Failed()) return args.Throw();
  return RunJobOnOwnThread(info.Env(), "umount2", [=]() -> Status {
    if (auto entered = EnterMountNamespace(ns_fd); !entered) return entered;
    if (umount2(target.c_str(), flags) == 0) return Done{};
    return SysError{
        .code = errno, .syscall = "umount2", .path = target, .flags = static_cast<uint64_t>(flags)};
  });
}

Napi::Value PidfdOpen(const Napi::CallbackInfo& info) {
  Args args(info);
  const int pid = args.Integer<int>("pid");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "pidfd_open", [pid]() -> Result<Fd> {
    Fd fd(static_cast<int>(syscall(sys::kPidfdOpen, pid, 0)));
    if (fd) return fd;
    return SysError{.code = errno, .syscall = "pidfd_open", .path = std::to_string(pid)};
  });
}

}  // namespace

void RegisterNamespace(Napi::Object exports) {
  Export(exports, "moveMountInto", MoveMountInto);
  Export(exports, "umount2In", Umount2In);
  Export(exports, "pidfdOpen", PidfdOpen);
}

}  // namespace overlaid
