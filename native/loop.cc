// Loop devices: files as block devices.
#include <linux/loop.h>
#include <sys/ioctl.h>

#include "args.h"
#include "compat.h"
#include "job.h"
#include "register.h"

namespace overlaid {

// In this namespace, so that Job finds their ToJs.
struct LoopStatus {
  // As st_dev and st_ino of the file have them.
  uint64_t device;
  uint64_t inode;
  bool read_only;
};

struct LoopNumber {
  int number;
};

static Napi::Value ToJs(Napi::Env env, const LoopStatus& status) {
  auto object = Napi::Object::New(env);
  object.Set("device", ToJs(env, status.device));
  object.Set("inode", ToJs(env, status.inode));
  object.Set("readOnly", status.read_only);
  return object;
}

static Napi::Value ToJs(Napi::Env env, const LoopNumber& loop) {
  return Napi::Number::New(env, loop.number);
}

namespace {

Napi::Value LoopCtlGetFree(const Napi::CallbackInfo& info) {
  Args args(info);
  const int fd = args.FdNumber("fd");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "loop", [=]() -> Result<LoopNumber> {
    const int number = RetryEintr([&] { return ioctl(fd, LOOP_CTL_GET_FREE); });
    if (number >= 0) return LoopNumber{number};
    return SysError{.code = errno, .syscall = "LOOP_CTL_GET_FREE"};
  });
}

// In one step, so that there is no moment in which the device could be written to, or stay behind.
Napi::Value LoopConfigure(const Napi::CallbackInfo& info) {
  Args args(info);
  const int fd = args.FdNumber("fd");
  const auto backing_fd = args.Integer<uint32_t>("backingFd");
  const auto size = args.Integer<uint64_t>("size");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "loop", [=]() -> Status {
    sys::LoopConfig config{};
    config.fd = backing_fd;
    config.info.lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR;
    config.info.lo_sizelimit = size;
    // Interrupted it has done nothing.
    if (RetryEintr([&] { return ioctl(fd, sys::kLoopConfigure, &config); }) == 0) return Done{};
    return SysError{.code = errno, .syscall = "LOOP_CONFIGURE"};
  });
}

Napi::Value LoopGetStatus64(const Napi::CallbackInfo& info) {
  Args args(info);
  const int fd = args.FdNumber("fd");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "loop", [=]() -> Result<std::optional<LoopStatus>> {
    loop_info64 status{};
    if (RetryEintr([&] { return ioctl(fd, LOOP_GET_STATUS64, &status); }) == 0) {
      return std::optional(LoopStatus{.device = status.lo_device,
                                      .inode = status.lo_inode,
                                      .read_only = (status.lo_flags & LO_FLAGS_READ_ONLY) != 0});
    }
    if (errno == ENXIO) return std::optional<LoopStatus>();
    return SysError{.code = errno, .syscall = "LOOP_GET_STATUS64"};
  });
}

}  // namespace

void RegisterLoop(Napi::Object exports) {
  Export(exports, "loopCtlGetFree", LoopCtlGetFree);
  Export(exports, "loopConfigure", LoopConfigure);
  Export(exports, "loopGetStatus64", LoopGetStatus64);
}

}  // namespace overlaid
