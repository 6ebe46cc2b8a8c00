// mount(2) and umount2(2).
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include "args.h"
#include "job.h"
#include "register.h"

namespace overlaid {
namespace {

struct MountCall {
  std::string source, target, type;
  uint32_t flags;
  std::string data;

  Status Run() const {
    const int result =
        ::mount(source.c_str(), target.c_str(), type.c_str(), flags, data.c_str());
    if (result == 0) return Done{};
    return SysError{
        .code = errno, .syscall = "mount", .path = source, .dest = target, .flags = flags};
  }
};

MountCall ReadMountCall(Args& args) {
  MountCall call;
  call.source = args.Path("source");
  call.target = args.Path("target");
  call.type = args.Text("type");
  call.flags = args.Integer<uint32_t>("flags");
  call.data = args.Path("data");
  return call;
}

Napi::Value Mount(const Napi::CallbackInfo& info) {
  Args args(info);
  auto call = ReadMountCall(args);
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "mount", [call = std::move(call)] { return call.Run(); });
}

// The working directory is the process's, so a thread of its own first stops sharing it.
Napi::Value MountFrom(const Napi::CallbackInfo& info) {
  Args args(info);
  const int cwd = args.FdNumber("cwdFd");
  auto call = ReadMountCall(args);
  if (args.Failed()) return args.Throw();
  return RunJobOnOwnThread(info.Env(), "mount", [cwd, call = std::move(call)]() -> Status {
    if (unshare(CLONE_FS) != 0) return SysError{.code = errno, .syscall = "unshare"};
    if (fchdir(cwd) != 0) return SysError{.code = errno, .syscall = "fchdir"};
    return call.Run();
  });
}

Napi::Value Umount2(const Napi::CallbackInfo& info) {
  Args args(info);
  auto target = args.Path("target");
  const int flags = args.Integer<int>("flags");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "umount2", [target = std::move(target), flags]() -> Status {
    if (umount2(target.c_str(), flags) == 0) return Done{};
    return SysError{.code = errno,
                    .syscall = "umount2",
                    .path = target,
                    .flags = static_cast<uint64_t>(flags)};
  });
}

}  // namespace

void RegisterMount(Napi::Object exports) {
  Export(exports, "mount", Mount);
  Export(exports, "mountFrom", MountFrom);
  Export(exports, "umount2", Umount2);
}

}  // namespace overlaid
