#include "resolve.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <array>
#include <atomic>
#include <climits>

#include "args.h"
#include "compat.h"
#include "job.h"
#include "register.h"
#include "statx.h"

namespace overlaid {
namespace {

// Process-wide: what the kernel refuses to one environment it refuses to all.
std::atomic<bool> use_openat2{true};

int Openat2(int dirfd, const char* path, const sys::OpenHow& how) {
  return static_cast<int>(
      RetryEintr([&] { return syscall(sys::kOpenat2, dirfd, path, &how, sizeof how); }));
}

// A seccomp filter older than 5.6 answers ENOSYS or, as docker's did, EPERM (both are seen in the
// wild). EPERM may also be the call's own (O_NOATIME), so only an open that cannot fail so decides.
bool Openat2Blocked(int root_fd) {
  const PreserveErrno keep;
  const Fd probe(Openat2(root_fd, ".", {.flags = O_PATH | O_CLOEXEC, .mode = 0, .resolve = 0}));
  return !probe && (errno == ENOSYS || errno == EPERM);
}

// openat2 in-root resolution answers EAGAIN when a rename or mount anywhere raced with a `..`.
int Openat2Retrying(int dirfd, const char* path, const sys::OpenHow& how) {
  constexpr int kAttempts = 1000;
  int fd = -1;
  for (int attempt = 0; attempt < kAttempts; attempt++) {
    fd = Openat2(dirfd, path, how);
    if (fd >= 0 || errno != EAGAIN) break;
  }
  return fd;
}

// openat2 refuses a mode that would not be used. O_TMPFILE has O_DIRECTORY's bit in it.
bool TakesMode(int flags) { return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE; }

int FailWith(int code) {
  errno = code;
  return -1;
}

// The walk of the fallback. Directories passed stay open, so that `..` is the one we came from,
// whatever is renamed meanwhile, and never leaves the root.
class Walk {
 public:
  explicit Walk(int root_fd) : root_fd_(root_fd) {}

  // Puts the components of `path` before those still to be walked.
  void Push(std::string_view path) {
    if (path.starts_with('/')) passed_.clear();
    std::vector<std::string> parts;
    size_t at = 0;
    while (at < path.size()) {
      const size_t end = std::min(path.find('/', at), path.size());
      if (end > at) parts.emplace_back(path.substr(at, end - at));
      at = end + 1;
    }
    if (path.ends_with('/')) parts.emplace_back(".");
    for (auto part = parts.rbegin(); part != parts.rend(); ++part)
      rest_.push_back(std::move(*part));
  }

  int Open(int flags, unsigned mode) {
    if (StatAt(root_fd_, "", AT_EMPTY_PATH, &root_) != 0) return -1;
    while (!rest_.empty()) {
      std::string name = std::move(rest_.back());
      rest_.pop_back();
      const bool last = rest_.empty();
      if (name == "." || name == "..") {
        if (name == ".." && !passed_.empty()) passed_.pop_back();
        continue;
      }
      Fd entry(openat(here(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
      if (!entry && !(last && errno == ENOENT && (flags & O_CREAT) != 0)) return -1;
      const int step = Step(std::move(entry), last, flags);
      if (step < 0) return -1;
      if (step == kOpenHere)
        return openat(here(), name.c_str(), flags | O_NOFOLLOW | O_CLOEXEC, mode);
    }
    return openat(here(), ".", flags | O_CLOEXEC, mode);
  }

 private:
  static constexpr int kWalkOn = 0;
  static constexpr int kOpenHere = 1;
  static constexpr int kMaxLinks = 40;  // the kernel's MAXSYMLINKS

  int here() const { return passed_.empty() ? root_fd_ : passed_.back().get(); }

  // What to do at `entry`: walk into a directory or a link, or open it because it is the last.
  int Step(Fd entry, bool last, int flags) {
    if (!entry) return kOpenHere;
    sys::Statx stat{};
    if (StatAt(entry.get(), "", AT_EMPTY_PATH, &stat) != 0) return -1;
    if (CrossesMount(stat)) return FailWith(EXDEV);
    const bool keeps_link =
        (flags & O_NOFOLLOW) != 0 || (flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL);
    if (S_ISLNK(stat.mode) && !(last && keeps_link)) return Follow(entry);
    if (last) return kOpenHere;
    if (!S_ISDIR(stat.mode)) return FailWith(ENOTDIR);
    passed_.push_back(std::move(entry));
    return kWalkOn;
  }

  bool CrossesMount(const sys::Statx& stat) const {
    if ((stat.mask & (sys::kStatxMntId | sys::kStatxMntIdUnique)) != 0) {
      return stat.mnt_id != root_.mnt_id;
    }
    // Before 5.8 a bind mount of the same file system goes unnoticed.
    return stat.dev_major != root_.dev_major || stat.dev_minor != root_.dev_minor;
  }

  int Follow(const Fd& link) {
    if (++links_ > kMaxLinks) return FailWith(ELOOP);
    struct statfs fs {};
    // A link of procfs leads to an object, not to its text.
    if (fstatfs(link.get(), &fs) != 0) return -1;
    if (fs.f_type == PROC_SUPER_MAGIC) return FailWith(ELOOP);
    std::array<char, PATH_MAX> target{};
    const auto length = readlinkat(link.get(), "", target.data(), target.size());
    if (length < 0) return -1;
    if (length == 0) return FailWith(ENOENT);
    Push({target.data(), static_cast<size_t>(length)});
    return kWalkOn;
  }

  int root_fd_;
  sys::Statx root_{};
  std::vector<Fd> passed_;
  std::vector<std::string> rest_;  // the next component is the last element
  int links_ = 0;
};

}  // namespace

bool UsesOpenat2() { return use_openat2.load(std::memory_order_relaxed); }

int WalkInRoot(int root_fd, std::string_view path, int flags, unsigned mode) {
  if (path.empty()) return FailWith(ENOENT);
  Walk walk(root_fd);
  walk.Push(path);
  return walk.Open(flags, mode);
}

int OpenInRoot(int root_fd, const std::string& path, int flags, unsigned mode) {
  if (UsesOpenat2()) {
    const sys::OpenHow how{
        .flags = static_cast<uint64_t>(flags | O_CLOEXEC),
        .mode = TakesMode(flags) ? mode : 0,
        .resolve = sys::kResolveInRoot | sys::kResolveNoMagiclinks | sys::kResolveNoXdev};
    const int fd = Openat2Retrying(root_fd, path.c_str(), how);
    if (fd >= 0 || (errno != ENOSYS && errno != EPERM) || !Openat2Blocked(root_fd)) return fd;
    use_openat2 = false;
  }
  return WalkInRoot(root_fd, path, flags, mode);
}

int OpenChildDirectory(int dirfd, const char* name) {
  constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  if (UsesOpenat2()) {
    const sys::OpenHow how{
        .flags = kFlags, .mode = 0, .resolve = sys::kResolveNoXdev | sys::kResolveNoSymlinks};
    const int fd = Openat2Retrying(dirfd, name, how);
    if (fd >= 0 || (errno != ENOSYS && errno != EPERM) || !Openat2Blocked(dirfd)) return fd;
    use_openat2 = false;
  }
  return WalkInRoot(dirfd, name, kFlags, 0);
}

int OpenFolderDeep(int root_fd, std::string_view path) {
  // One call takes a path of PATH_MAX bytes, and a name has 255 at most.
  constexpr size_t kStep = 3800;
  constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  Fd above;
  for (;;) {
    const size_t end = path.size() > kStep ? path.rfind('/', kStep) : path.size();
    const std::string step(path.empty() ? "." : path.substr(0, end));
    Fd next(OpenInRoot(above ? above.get() : root_fd, step, kFlags, 0));
    if (!next || end == path.size()) return next.Release();
    above = std::move(next);
    path.remove_prefix(end + 1);
  }
}

namespace {

Napi::Value Openat2Call(const Napi::CallbackInfo& info) {
  Args args(info);
  const int dirfd = args.FdNumber("dirfd");
  auto path = args.Path("path");
  const auto how_object = args.Object("how");
  const auto field = [&](const char* name) -> uint64_t {
    return args.Optional<uint64_t>(how_object, name).value_or(0);
  };
  const sys::OpenHow how{
      .flags = field("flags") | O_CLOEXEC, .mode = field("mode"), .resolve = field("resolve")};
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "openat2", [=]() -> Result<Fd> {
    if (Fd fd(Openat2(dirfd, path.c_str(), how)); fd) return fd;
    return SysError{.code = errno, .syscall = "openat2", .path = path, .flags = how.flags};
  });
}

Napi::Value OpenInRootCall(const Napi::CallbackInfo& info) {
  Args args(info);
  const int root_fd = args.FdNumber("rootFd");
  auto path = args.Path("path");
  const int flags = args.Integer<int>("flags");
  const auto mode = args.Integer<uint32_t>("mode");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "openat2", [=]() -> Result<Fd> {
    if (Fd fd(OpenInRoot(root_fd, path, flags, mode)); fd) return fd;
    return SysError{
        .code = errno, .syscall = "openat2", .path = path, .flags = static_cast<uint64_t>(flags)};
  });
}

Napi::Value SetOpenat2(const Napi::CallbackInfo& info) {
  Args args(info);
  const auto value = args.Next();
  if (!value.IsBoolean()) args.Fail("use", "a boolean");
  if (args.Failed()) return args.Throw();
  const bool before = use_openat2.exchange(value.As<Napi::Boolean>().Value());
  return Napi::Boolean::New(info.Env(), before);
}

}  // namespace

void RegisterResolve(Napi::Object exports) {
  Export(exports, "openat2", Openat2Call);
  Export(exports, "openInRoot", OpenInRootCall);
  Export(exports, "setOpenat2", SetOpenat2);
}

}  // namespace overlaid
