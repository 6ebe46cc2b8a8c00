// mount(2) as if it gave a descriptor, for kernels without the fsopen family's options.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <fstream>

#include "args.h"
#include "compat.h"
#include "mapped_tree.h"
#include "new_mount.h"
#include "register.h"
#include "thread_job.h"

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

// A folder that is to be found at `<place>/<n>` during the mount, its ids mapped.
struct MappedLayer {
  std::string path;
  int userns_fd;
};

struct Request {
  std::string cwd, source, target, type;
  uint32_t flags;
  std::string data;
  std::string place;
  std::vector<MappedLayer> mapped;
};

// On a tmpfs over `place`, which nobody but this thread sees.
Status AttachMapped(const Request& request) {
  if (request.mapped.empty()) return Done{};
  std::vector<Fd> trees;
  for (const auto& layer : request.mapped) {
    auto tree = CloneTree(AT_FDCWD, layer.path, layer.userns_fd);
    if (!tree) return tree.error();
    trees.push_back(std::move(*tree));
  }
  if (mount("none", request.place.c_str(), "tmpfs", 0, "mode=0700") != 0) {
    return SysError{.code = errno, .syscall = "mount", .path = "none", .dest = request.place};
  }
  for (size_t i = 0; i < trees.size(); i++) {
    const auto target = request.place + "/" + std::to_string(i);
    if (mkdir(target.c_str(), 0700) != 0) {
      return SysError{.code = errno, .syscall = "mkdir", .path = target};
    }
    if (syscall(sys::kMoveMount, trees[i].get(), "", AT_FDCWD, target.c_str(),
                sys::kMoveMountFEmptyPath) != 0) {
      return SysError{.code = errno, .syscall = "move_mount", .path = "", .dest = target};
    }
  }
  return Done{};
}

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
  if (auto attached = AttachMapped(request); !attached) return attached.error();
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

void ReadMapped(Args& args, Request& request) {
  const auto value = args.Next();
  if (value.IsUndefined()) return;
  const auto mapped = args.ObjectOf(value, "mapped");
  request.place = args.PathOf(args.Member(mapped, "place"), "place");
  const auto layers = args.ArrayOf(args.Member(mapped, "layers"), "layers");
  for (uint32_t i = 0; i < layers.Length(); i++) {
    const auto layer = args.ObjectOf(args.Element(layers, i, "layers"), "layer");
    request.mapped.push_back(
        {.path = args.PathOf(args.Member(layer, "path"), "path"),
         .userns_fd = args.IntegerOf<int>(args.Member(layer, "usernsFd"), "usernsFd")});
  }
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
  ReadMapped(args, request);
  if (args.Failed()) return args.Throw();
  return RunJobOnOwnThread(info.Env(), "mount",
                           [request = std::move(request)] { return MountAlone(request); });
}

}  // namespace

void RegisterMountDetached(Napi::Object exports) {
  Export(exports, "mountDetached", MountDetached);
}

}  // namespace overlaid
