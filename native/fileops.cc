#include "fileops.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <deque>

#include "fd.h"
#include "remove_tree.h"
#include "resolve.h"
#include "xattr.h"

namespace overlaid {
namespace {

SysError Failed(const char* syscall) { return SysError{.code = errno, .syscall = syscall}; }

// A path cut at its last component: `name` is "." for the root itself, and has a NUL after it.
struct Place {
  int parent_fd;
  const char* name;
};

// Opened parents by path. Archives list a folder's members together, so a few are enough. What
// could make a cached path mean another folder is forgotten with Clear(): a rename or a removal. A
// new name cannot, since every component of a cached path exists already.
class Parents {
 public:
  explicit Parents(int root_fd) : root_fd_(root_fd) {}

  // `path` has a NUL after it, and so has the name that is cut from its end, unless what ends it
  // must go: then `tail` holds the name.
  Result<Place> Locate(std::string_view path, std::string& tail) {
    const auto clean = Trim(path);
    const size_t slash = clean.rfind('/');
    const bool at_root = slash == std::string_view::npos;
    const auto last = at_root ? clean : clean.substr(slash + 1);
    if (last == "..") return SysError{.code = EINVAL, .syscall = "openat2"};
    const char* name = last.data();
    if (last.empty()) {
      name = ".";
    } else if (last.data() + last.size() != path.data() + path.size()) {
      tail = last;
      name = tail.c_str();
    }
    if (at_root) return Place{root_fd_, name};
    auto parent = Open(clean.substr(0, slash));
    if (!parent) return parent.error();
    return Place{*parent, name};
  }

  void Clear() { open_.clear(); }

 private:
  static constexpr size_t kMaxOpen = 16;

  // Without slashes around it, nor `.` at its end.
  static std::string_view Trim(std::string_view path) {
    for (;;) {
      while (path.starts_with('/')) path.remove_prefix(1);
      while (path.ends_with('/')) path.remove_suffix(1);
      if (path == ".") return {};
      if (!path.ends_with("/.")) return path;
      path.remove_suffix(2);
    }
  }

  Result<int> Open(std::string_view folder) {
    for (auto& entry : open_) {
      if (entry.first == folder) return entry.second.get();
    }
    std::string path(folder);
    Fd fd(OpenInRoot(root_fd_, path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0));
    if (!fd) return Failed("openat2");
    if (open_.size() == kMaxOpen) open_.pop_back();
    open_.emplace_front(std::move(path), std::move(fd));
    return open_.front().second.get();
  }

  int root_fd_;
  std::deque<std::pair<std::string, Fd>> open_;
};

// /proc/self/fd/N, the way to an object that is open with O_PATH for calls that take no empty path.
std::string ProcPath(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

// An object that is open, for the metadata calls: really (fchmod works), by O_PATH, or a symlink,
// whose xattrs can only be reached by name.
struct Object {
  int fd;
  enum class How { kOpen, kPath, kLink } how;
  const Place& place;
  // As it is, so that nothing is set that is so already.
  const struct stat& stat;
};

Status SetXattrs(const Object& object, const FileOp& op) {
  XattrPlace at{.fd = object.fd, .path = {}};
  // setxattr(2) follows /proc/self/fd/N to the object; lsetxattr would act on the proc link itself,
  // so a device, fifo or symlink goes through its parent.
  if (object.how != Object::How::kOpen && !op.xattrs.empty()) {
    at.path = ProcPath(object.place.parent_fd) + "/" + object.place.name;
  }
  for (size_t i = 0; i + 1 < op.xattrs.size(); i += 2) {
    const std::string name(op.xattrs[i]);
    if (auto set = SetXattr(at, name, std::string(op.xattrs[i + 1]), 0); !set) {
      set.error().dest = name;
      return set;
    }
  }
  return Done{};
}

// Gives whether it changed something.
Result<bool> SetOwner(const Object& object, const FileOp& op) {
  constexpr auto kLeave = static_cast<uint32_t>(-1);
  const auto uid = op.Has(FileOp::kHasUid) && op.uid != object.stat.st_uid ? op.uid : kLeave;
  const auto gid = op.Has(FileOp::kHasGid) && op.gid != object.stat.st_gid ? op.gid : kLeave;
  if (uid == kLeave && gid == kLeave) return false;
  if (fchownat(object.fd, "", uid, gid, AT_EMPTY_PATH) != 0) return Failed("fchownat");
  return true;
}

Status SetMode(const Object& object, uint32_t mode) {
  if (object.how == Object::How::kLink) return Done{};
  const int result = object.how == Object::How::kOpen
                         ? fchmod(object.fd, mode & 07777)
                         : chmod(ProcPath(object.fd).c_str(), mode & 07777);
  if (result != 0) return Failed("fchmod");
  return Done{};
}

// Owner first, since chown clears setuid bits and file capabilities; times last.
Status Apply(const Object& object, const FileOp& op) {
  auto owned = SetOwner(object, op);
  if (!owned) return owned.error();
  if (auto set = SetXattrs(object, op); !set) return set;
  // An access ACL among the attributes has changed the mode.
  const bool moved = *owned || !op.xattrs.empty();
  if (op.Has(FileOp::kHasMode) && (moved || ((op.mode ^ object.stat.st_mode) & 07777) != 0)) {
    if (auto set = SetMode(object, op.mode); !set) return set;
  }
  if (op.Has(FileOp::kHasMtime)) {
    const timespec times[2] = {op.mtime, op.mtime};
    // AT_EMPTY_PATH is of 5.8 here; the link's name does for the older.
    const int result =
        object.how == Object::How::kOpen
            ? futimens(object.fd, times)
            : utimensat(object.place.parent_fd, object.place.name, times, AT_SYMLINK_NOFOLLOW);
    if (result != 0) return Failed("utimensat");
  }
  return Done{};
}

Status ApplyOpen(int fd, const Place& place, const FileOp& op) {
  struct stat stat {};
  if (fstat(fd, &stat) != 0) return Failed("fstat");
  return Apply({fd, Object::How::kOpen, place, stat}, op);
}

// Opens what is there without following it and gives it metadata.
Status ApplyAt(const Place& place, const FileOp& op) {
  const Fd fd(openat(place.parent_fd, place.name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return Failed("openat");
  struct stat stat {};
  if (fstat(fd.get(), &stat) != 0) return Failed("fstat");
  if (S_ISLNK(stat.st_mode)) return Apply({fd.get(), Object::How::kLink, place, stat}, op);
  if (!S_ISREG(stat.st_mode) && !S_ISDIR(stat.st_mode)) {
    return Apply({fd.get(), Object::How::kPath, place, stat}, op);
  }
  const Fd open(
      openat(place.parent_fd, place.name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!open) return Failed("openat");
  return ApplyOpen(open.get(), place, op);
}

Status WriteAll(int fd, std::vector<iovec>& data, int64_t offset) {
  size_t at = 0;
  while (at < data.size()) {
    const auto count = std::min<size_t>(data.size() - at, IOV_MAX);
    auto written =
        RetryEintr([&] { return pwritev(fd, &data[at], static_cast<int>(count), offset); });
    if (written < 0) return Failed("pwritev");
    offset += written;
    for (; at < data.size() && static_cast<size_t>(written) >= data[at].iov_len; at++) {
      written -= static_cast<ssize_t>(data[at].iov_len);
    }
    if (written > 0) {
      data[at].iov_base = static_cast<char*>(data[at].iov_base) + written;
      data[at].iov_len -= static_cast<size_t>(written);
    }
  }
  return Done{};
}

class Batch {
 public:
  explicit Batch(int root_fd) : parents_(root_fd), uid_(geteuid()), gid_(getegid()) {}

  Status Run(FileOp& op) {
    auto place = parents_.Locate(op.path, tail_);
    if (!place) return place.error();
    switch (op.kind) {
      case FileOp::Kind::kFile:
        return File(*place, op);
      case FileOp::Kind::kDir:
        return Dir(*place, op);
      case FileOp::Kind::kSymlink:
        return Symlink(*place, op);
      case FileOp::Kind::kNode:
        return Node(*place, op);
      case FileOp::Kind::kLink:
        return Link(*place, op);
      case FileOp::Kind::kMeta:
        return ApplyAt(*place, op);
      case FileOp::Kind::kRemove:
        return Remove(*place, op);
      case FileOp::Kind::kRename:
        return Rename(*place, op);
      case FileOp::Kind::kCreate:
        return File(*place, op);
      case FileOp::Kind::kWrite:
        return Write(*place, op);
      case FileOp::Kind::kCount:
        break;
    }
    return SysError{.code = EINVAL, .syscall = "fileops"};
  }

 private:
  // The mode that a new file can have from its first moment: nobody reads a file whose owner is
  // still to come, and none runs with the rights of one.
  uint32_t FirstMode(const FileOp& op) const {
    constexpr uint32_t kSecret = 0600;
    const bool own =
        op.Has(FileOp::kHasUid) && op.uid == uid_ && op.Has(FileOp::kHasGid) && op.gid == gid_;
    return own && op.xattrs.empty() && (op.mode & 07000) == 0 ? op.mode & 0777 : kSecret;
  }

  Status File(const Place& place, FileOp& op) const {
    constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    const Fd fd(openat(place.parent_fd, place.name, kFlags, FirstMode(op)));
    if (!fd) return Failed("openat");
    if (auto written = WriteAll(fd.get(), op.data, 0); !written) return written;
    // A length beyond the data makes a hole.
    if (op.offset > 0 && ftruncate(fd.get(), op.offset) != 0) return Failed("ftruncate");
    return ApplyOpen(fd.get(), place, op);
  }

  static Status Write(const Place& place, FileOp& op) {
    const Fd fd(openat(place.parent_fd, place.name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd) return Failed("openat");
    return WriteAll(fd.get(), op.data, op.offset);
  }

  static Status Dir(const Place& place, const FileOp& op) {
    const bool made = mkdirat(place.parent_fd, place.name, 0700) == 0;
    if (!made && errno != EEXIST) return Failed("mkdirat");
    if (made && op.flags == 0 && op.xattrs.empty()) return Done{};
    const Fd fd(
        openat(place.parent_fd, place.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    // What is there is not a directory: say what mkdirat said.
    if (!fd && !made && (errno == ENOTDIR || errno == ELOOP)) {
      return SysError{.code = EEXIST, .syscall = "mkdirat"};
    }
    if (!fd) return Failed("openat");
    return ApplyOpen(fd.get(), place, op);
  }

  static Status Symlink(const Place& place, const FileOp& op) {
    if (symlinkat(op.target.data(), place.parent_fd, place.name) != 0) return Failed("symlinkat");
    return ApplyAt(place, op);
  }

  static Status Node(const Place& place, const FileOp& op) {
    const auto device = makedev(op.major_number, op.minor_number);
    if (mknodat(place.parent_fd, place.name, op.mode, device) != 0) return Failed("mknodat");
    return ApplyAt(place, op);
  }

  Status Link(const Place& place, const FileOp& op) {
    // Locating the target may drop the parent from the cache, so that one is held by a descriptor
    // of its own.
    const Fd parent(fcntl(place.parent_fd, F_DUPFD_CLOEXEC, 0));
    if (!parent) return Failed("fcntl");
    std::string tail;
    auto target = parents_.Locate(op.target, tail);
    if (!target) return target.error();
    if (linkat(target->parent_fd, target->name, parent.get(), place.name, 0) != 0) {
      return Failed("linkat");
    }
    return Done{};
  }

  Status Remove(const Place& place, const FileOp& op) {
    if (op.Has(FileOp::kRecursive)) {
      auto removed = RemoveTree(place.parent_fd, place.name);
      parents_.Clear();
      return removed;
    }
    int result = unlinkat(place.parent_fd, place.name, 0);
    if (result != 0 && errno == EISDIR) {
      result = unlinkat(place.parent_fd, place.name, AT_REMOVEDIR);
    }
    const int code = errno;
    parents_.Clear();
    if (result == 0 || (code == ENOENT && op.Has(FileOp::kMissingOk))) return Done{};
    errno = code;
    return Failed("unlinkat");
  }

  Status Rename(const Place& place, const FileOp& op) {
    const Fd parent(fcntl(place.parent_fd, F_DUPFD_CLOEXEC, 0));
    if (!parent) return Failed("fcntl");
    std::string tail;
    auto dest = parents_.Locate(op.target, tail);
    if (!dest) return dest.error();
    const int result = renameat(parent.get(), place.name, dest->parent_fd, dest->name);
    const int code = errno;
    parents_.Clear();
    if (result == 0) return Done{};
    errno = code;
    return Failed("renameat");
  }

  Parents parents_;
  std::string tail_;
  const uid_t uid_;
  const gid_t gid_;
};

}  // namespace

Status RunFileOps(int root_fd, std::span<const uint8_t> code, std::span<const iovec> buffers) {
  Batch batch(root_fd);
  OpDecoder decoder(code, buffers);
  FileOp op;
  for (uint32_t i = 0; decoder.Next(op); i++) {
    auto done = batch.Run(op);
    if (done) continue;
    auto& error = done.error();
    error.index = i;
    error.path = op.path;
    if (!op.target.empty() && !error.dest) error.dest = op.target;
    return std::move(error);
  }
  if (decoder.Failed()) return SysError{.code = EINVAL, .syscall = "fileops"};
  return Done{};
}

}  // namespace overlaid
