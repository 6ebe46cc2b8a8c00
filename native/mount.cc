// mount(2) and umount2(2).
#include <sys/mount.h>

#include "args.h"
#include "job.h"
#include "register.h"

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

Napi::Value Umount2(const Napi::CallbackInfo& info) {
  Args args(info);
  auto target = args.Path("target");
  const int flags = args.Integer<int>("flags");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "umount2", [target = std::move(target), flags]() -> Status {
    if (umount2(target.c_str(), flags) == 0) return Done{};
    return SysError{
        .code = errno, .syscall = "umount2", .path = target, .flags = static_cast<uint64_t>(flags)};
  });
}

}  // namespace

void RegisterMount(Napi::Object exports) {
  Export(exports, "mount", Mount);
  Export(exports, "umount2", Umount2);
}

}  // namespace overlaid
