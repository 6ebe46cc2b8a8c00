// A user namespace as a mapping of ids, for MOUNT_ATTR_IDMAP (5.12): nothing ever runs in it.
//
// unshare(CLONE_NEWUSER) is EINVAL in a process with several threads, so a child gets it. The child
// shares this process's memory and descriptors, so that nothing is copied and no lock outlives its
// owner; it has a stack of its own, and waits there until its maps are written and the namespace is
// open. It shares the calling thread's thread-local storage too: it makes system calls that succeed
// and nothing else.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "args.h"
#include "compat.h"
#include "job.h"
#include "register.h"

namespace overlaid {
namespace {

constexpr size_t kStackSize = size_t{64} * 1024;

// Does not outlive the process, also where that died before this was asked for.
int WaitToBeKilled(void* parent) {
  syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (syscall(SYS_getppid) != *static_cast<pid_t*>(parent)) return 0;
  for (;;) syscall(SYS_ppoll, nullptr, 0, nullptr, nullptr, 0);
}

class Stack {
 public:
  Stack()
      : memory_(mmap(nullptr, kStackSize, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0)) {}
  Stack(const Stack&) = delete;
  Stack& operator=(const Stack&) = delete;
  ~Stack() {
    if (memory_ != MAP_FAILED) munmap(memory_, kStackSize);
  }
  explicit operator bool() const { return memory_ != MAP_FAILED; }
  void* top() const { return static_cast<char*>(memory_) + kStackSize; }

 private:
  void* memory_;
};

// The child, killed and reaped at the end of the scope, before its stack goes.
class Child {
 public:
  // Signals are blocked while it is made, and so for good in it: it must run none of Node's
  // handlers. Its end is no SIGCHLD, which Node would look into.
  explicit Child(const Stack& stack) {
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_ = clone(WaitToBeKilled, stack.top(), CLONE_NEWUSER | CLONE_VM | CLONE_FILES, &parent_);
    const PreserveErrno keep;
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ < 0) return;
    const PreserveErrno keep;
    kill(pid_, SIGKILL);
    RetryEintr([&] { return waitpid(pid_, nullptr, __WALL); });
  }
  explicit operator bool() const { return pid_ >= 0; }
  std::string Proc(const char* name) const { return "/proc/" + std::to_string(pid_) + "/" + name; }

 private:
  pid_t parent_ = getpid();
  pid_t pid_ = -1;
};

// The kernel takes a map in one write.
Status WriteMap(const std::string& path, const std::string& map) {
  const Fd file(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file) return SysError{.code = errno, .syscall = "open", .path = path};
  const auto written = RetryEintr([&] { return write(file.get(), map.data(), map.size()); });
  if (written == static_cast<ssize_t>(map.size())) return Done{};
  return SysError{.code = written < 0 ? errno : EINVAL, .syscall = "write", .path = path};
}

Result<Fd> MakeUserNamespace(const std::string& uid_map, const std::string& gid_map) {
  const Stack stack;
  if (!stack) return SysError{.code = errno, .syscall = "mmap"};
  const Child child(stack);
  if (!child) return SysError{.code = errno, .syscall = "clone", .flags = CLONE_NEWUSER};
  if (auto wrote = WriteMap(child.Proc("uid_map"), uid_map); !wrote) return wrote.error();
  if (auto wrote = WriteMap(child.Proc("gid_map"), gid_map); !wrote) return wrote.error();
  const auto path = child.Proc("ns/user");
  Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd) return fd;
  return SysError{.code = errno, .syscall = "open", .path = path};
}

Napi::Value UserNamespace(const Napi::CallbackInfo& info) {
  Args args(info);
  auto uid_map = args.Text("uidMap");
  auto gid_map = args.Text("gidMap");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "clone", [=] { return MakeUserNamespace(uid_map, gid_map); });
}

}  // namespace

void RegisterUserns(Napi::Object exports) { Export(exports, "userNamespace", UserNamespace); }

}  // namespace overlaid
