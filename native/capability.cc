// Starting a program that has one capability less than this process.
//
// What root executes gets all that its bounding set allows, and a thread whose bounding set has
// lost something never has it back. So for the moment of the fork the thread asks not to be
// treated as root (SECBIT_NOROOT): then the program gets the ambient set, which is all but the one.
// These are the thread's own, and it has its old ones before anything else runs on it.
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/prctl.h>

#include "args.h"
#include "compat.h"
#include "job.h"
#include "register.h"

namespace overlaid {
namespace {

constexpr uint64_t Bit(int capability) { return uint64_t{1} << capability; }

// Those for which `is_set` gives 1, up to the last that this kernel has.
template <typename IsSet>
uint64_t MaskOf(IsSet is_set) {
  uint64_t mask = 0;
  for (int capability = 0; capability < 64; capability++) {
    const int state = is_set(capability);
    if (state < 0) break;
    if (state == 1) mask |= Bit(capability);
  }
  return mask;
}

uint64_t BoundingSet() {
  return MaskOf([](int capability) { return prctl(PR_CAPBSET_READ, capability, 0, 0, 0); });
}

uint64_t AmbientSet() {
  return MaskOf([](int capability) {
    return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, capability, 0, 0);
  });
}

// The calling thread's sets of capabilities, as they were at the end of the scope.
class ThreadCapabilities {
 public:
  ThreadCapabilities() : securebits_(prctl(PR_GET_SECUREBITS, 0, 0, 0, 0)), ambient_(AmbientSet()) {
    syscall(SYS_capget, &header_, sets_);
  }
  ThreadCapabilities(const ThreadCapabilities&) = delete;
  ThreadCapabilities& operator=(const ThreadCapabilities&) = delete;
  ~ThreadCapabilities() {
    if (!changed_) return;
    const PreserveErrno keep;
    prctl(PR_SET_SECUREBITS, securebits_, 0, 0, 0);
    SetAmbient(ambient_);
    syscall(SYS_capset, &header_, sets_);
  }

  bool Has(int capability) const { return (Permitted() & Bit(capability)) != 0; }

  // What the thread executes has all that is permitted but `capability`.
  Status Withhold(int capability) {
    changed_ = true;
    const uint64_t handed_on = Permitted() & BoundingSet() & ~Bit(capability);
    __user_cap_data_struct sets[2] = {sets_[0], sets_[1]};
    sets[0].inheritable = static_cast<uint32_t>(handed_on);
    sets[1].inheritable = static_cast<uint32_t>(handed_on >> 32);
    if (syscall(SYS_capset, &header_, sets) != 0)
      return SysError{.code = errno, .syscall = "capset"};
    if (!SetAmbient(handed_on)) return SysError{.code = errno, .syscall = "prctl"};
    if (prctl(PR_SET_SECUREBITS, securebits_ | SECBIT_NOROOT, 0, 0, 0) == 0) return Done{};
    return SysError{.code = errno, .syscall = "prctl"};
  }

 private:
  uint64_t Permitted() const {
    return sets_[0].permitted | (static_cast<uint64_t>(sets_[1].permitted) << 32);
  }

  static bool SetAmbient(uint64_t mask) {
    bool done = prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == 0;
    for (int capability = 0; capability < 64; capability++) {
      if ((mask & Bit(capability)) == 0) continue;
      done = prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) == 0 && done;
    }
    return done;
  }

  __user_cap_header_struct header_ = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct sets_[2] = {};
  int securebits_;
  uint64_t ambient_;
  bool changed_ = false;
};

Napi::Value WithoutCapability(const Napi::CallbackInfo& info) {
  Args args(info);
  const auto capability = args.Integer<uint8_t>("capability");
  const auto run = args.Next();
  if (capability >= 64) args.Fail("capability", "a capability");
  if (!run.IsFunction()) args.Fail("run", "a function");
  if (args.Failed()) return args.Throw();
  ThreadCapabilities thread;
  if (thread.Has(capability)) {
    if (auto withheld = thread.Withhold(capability); !withheld) {
      ToError(info.Env(), withheld.error()).ThrowAsJavaScriptException();
      return info.Env().Undefined();
    }
  }
  return run.As<Napi::Function>().Call({});
}

}  // namespace

void RegisterCapability(Napi::Object exports) {
  Export(exports, "withoutCapability", WithoutCapability);
}

}  // namespace overlaid
