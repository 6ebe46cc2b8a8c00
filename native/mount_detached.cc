// mount(2) as if it gave a descriptor, for kernels without the fsopen family's options.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>

#include <fstream>

#include "args.h"
#include "compat.h"
#include "job.h"
#include "new_mount.h"
#include "register.h"

namespace overlaid {

// A mount that is in no mount table, and its line of mountinfo from when it was in one.
struct DetachedMount {
  NewMount mount;
  std::string mountinfo;
};

static Napi::Value ToJs(Napi::Env env, DetachedMount& detached) {
  auto object = ToJs(env, detached.mount);
  object.Set("mountinfo", ToJs(env, ByteString{detached.mountinfo}));
  return object;
}

namespace {

struct Request {
  std::string cwd, source, target, type;
  uint32_t flags;
  std::string data;
};

Status Mount(const Request& request) {
  if (mount(request.source.c_str(), request.target.c_str(), request.type.c_str(), request.flags,
            request.data.c_str()) != 0) {
    return SysError{.code = errno,
                    .syscall = "mount",
                    .path = request.source,
                    .dest = request.target,
                    .flags = request.flags};
  }
  // A bind mount takes no other flag at first; that is what mount(8) does too.
  if ((request.flags & MS_BIND) != 0 && request.flags != MS_BIND) {
    const auto flags = request.flags | MS_REMOUNT;
    if (mount(nullptr, request.target.c_str(), nullptr, flags, nullptr) != 0) {
      return SysError{
          .code = errno, .syscall = "mount", .path = "", .dest = request.target, .flags = flags};
    }
  }
  return Done{};
}

// The line of this thread's mount table for what is mounted at `target`; empty when there is none.
std::string MountinfoLine(const std::string& target) {
  sys::Statx stat{};
  // The table has the re-usable id (5.8), which statx gives when the unique one (6.8) is not asked
  // for.
  constexpr unsigned kMask = sys::kStatxMntId;
  if (syscall(SYS_statx, AT_FDCWD, target.c_str(), 0, kMask, &stat) != 0) return {};
  const bool has_id = (stat.mask & sys::kStatxMntId) != 0;
  const auto prefix = std::to_string(stat.mnt_id) + " ";
  std::ifstream table("/proc/thread-self/mountinfo");
  std::string line, found;
  while (std::getline(table, line)) {
    // Before 5.8 the newest mount is the last line.
    if (!has_id || line.starts_with(prefix)) found = line;
  }
  return found;
}

// In a mount namespace of this thread's own, so that not even for a moment anybody sees the mount,
// no copy of it is propagated, and nothing is left if the process is killed.
Result<DetachedMount> MountAlone(const Request& request) {
  // chdir before unshare(CLONE_NEWNS): it moves the working directory over to the copies of the
  // mounts.
  if (unshare(CLONE_FS) != 0) return SysError{.code = errno, .syscall = "unshare"};
  if (chdir(request.cwd.c_str()) != 0) {
    return SysError{.code = errno, .syscall = "chdir", .path = request.cwd};
  }
  const Fd home(open("/proc/thread-self/ns/mnt", O_RDONLY | O_CLOEXEC));
  if (!home) return SysError{.code = errno, .syscall = "open", .path = "/proc/thread-self/ns/mnt"};
  if (unshare(CLONE_NEWNS) != 0) return SysError{.code = errno, .syscall = "unshare"};
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    return SysError{.code = errno, .syscall = "mount", .path = "", .dest = "/"};
  }
  if (auto mounted = Mount(request); !mounted) return mounted.error();
  auto mountinfo = MountinfoLine(request.target);
  Fd fd(static_cast<int>(
      syscall(sys::kOpenTree, AT_FDCWD, request.target.c_str(), sys::kOpenTreeClone | O_CLOEXEC)));
  if (!fd) return SysError{.code = errno, .syscall = "open_tree", .path = request.target};
  // Back, so that the namespace and its copies of all mounts are gone when this returns and not
  // some time after: a copy keeps its file system busy.
  if (setns(home.get(), CLONE_NEWNS) != 0) return SysError{.code = errno, .syscall = "setns"};
  auto mount = Described(std::move(fd));
  if (!mount) return mount.error();
  return DetachedMount{.mount = std::move(*mount), .mountinfo = std::move(mountinfo)};
}

Napi::Value MountDetached(const Napi::CallbackInfo& info) {
  Args args(info);
  Request request;
  request.cwd = args.Path("cwd");
  request.source = args.Path("source");
  request.target = args.Path("target");
  request.type = args.Text("type");
  request.flags = args.Integer<uint32_t>("flags");
  request.data = args.Path("data");
  if (args.Failed()) return args.Throw();
  return RunJobOnOwnThread(info.Env(), "mount",
                           [request = std::move(request)] { return MountAlone(request); });
}

}  // namespace

void RegisterMountDetached(Napi::Object exports) {
  Export(exports, "mountDetached", MountDetached);
}

}  // namespace overlaid
