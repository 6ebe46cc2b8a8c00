// Deleting what nobody waits for: many trees in one call, at idle I/O priority.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "args.h"
#include "fd.h"
#include "register.h"
#include "remove_tree.h"
#include "thread_job.h"

namespace overlaid {
namespace {

// linux/ioprio.h, which old headers lack.
constexpr int kIoprioWhoProcess = 1;
constexpr int kIoprioClassIdle = 3 << 13;

// Of the calling thread alone: 0 means it, and a thread is a process to the scheduler. Where there
// is no such call or right the trees go at the common priority.
void BeIdle() { syscall(SYS_ioprio_set, kIoprioWhoProcess, 0, kIoprioClassIdle); }

// Leaves a folder that another has locked to that one: two at one tree would pull its folders from
// under each other.
Status RemoveUnlessLocked(int dirfd, const std::string& name) {
  constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  const Fd tree(openat(dirfd, name.c_str(), kFlags));
  if (!tree && errno == ENOENT) return Done{};
  // ENOTDIR, ELOOP: a file or a link.
  if (!tree && errno != ENOTDIR && errno != ELOOP) {
    return SysError{.code = errno, .syscall = "openat", .path = name};
  }
  if (tree && flock(tree.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return Done{};
    return SysError{.code = errno, .syscall = "flock", .path = name};
  }
  return RemoveTree(dirfd, name);
}

// Tries them all; the first failure is told.
Status RemoveAll(int dirfd, const std::string& names) {
  BeIdle();
  Status outcome = Done{};
  for (size_t at = 0; at < names.size();) {
    const std::string name(names.c_str() + at);
    at += name.size() + 1;
    auto removed = RemoveUnlessLocked(dirfd, name);
    if (!removed && outcome) outcome = std::move(removed);
  }
  return outcome;
}

Napi::Value RemoveTreesIdle(const Napi::CallbackInfo& info) {
  Args args(info);
  const int dirfd = args.FdNumber("dirfd");
  auto names = args.Bytes("names");
  if (args.Failed()) return args.Throw();
  return RunJobOnOwnThread(info.Env(), "unlinkat",
                           [dirfd, names = std::move(names)] { return RemoveAll(dirfd, names); });
}

}  // namespace

void RegisterRemoveIdle(Napi::Object exports) {
  Export(exports, "removeTreesIdle", RemoveTreesIdle);
}

}  // namespace overlaid
