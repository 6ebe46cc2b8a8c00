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

// A path cut at its last component; `name` is "." for the root itself.
struct Place {
  int parent_fd;
  std::string name;
};

// Opened parents by path. Archives list a folder's members together, so a few are enough. What
// could make a cached path mean another folder is forgotten with Clear(): a rename or a removal. A
// new name cannot, since every component of a cached path exists already.
class Parents {
 public:
  explicit Parents(int root_fd) : root_fd_(root_fd) {}

  Result<Place> Locate(const std::string& path) {
    std::string clean = Trim(path);
    while (clean.ends_with("/.")) clean = Trim(clean.substr(0, clean.size() - 2));
    const size_t slash = clean.rfind('/');
    std::string name = slash == std::string::npos ? clean : clean.substr(slash + 1);
    if (name == "..") return SysError{.code = EINVAL, .syscall = "openat2"};
    if (name.empty()) name = ".";
    if (slash == std::string::npos) return Place{root_fd_, std::move(name)};
    auto parent = Open(clean.substr(0, slash));
    if (!parent) return parent.error();
    return Place{*parent, std::move(name)};
  }

  void Clear() { open_.clear(); }

 private:
  static constexpr size_t kMaxOpen = 16;

  static std::string Trim(const std::string& path) {
    const size_t first = path.find_first_not_of('/');
    if (first == std::string::npos) return "";
    return path.substr(first, path.find_last_not_of('/') - first + 1);
  }

  Result<int> Open(const std::string& folder) {
    for (auto& entry : open_) {
      if (entry.first == folder) return entry.second.get();
    }
    Fd fd(OpenInRoot(root_fd_, folder, O_PATH | O_DIRECTORY | O_CLOEXEC, 0));
    if (!fd) return Failed("openat2");
    if (open_.size() == kMaxOpen) open_.pop_back();
    open_.emplace_front(folder, std::move(fd));
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
};

Status SetXattrs(const Object& object, const Metadata& metadata) {
  for (const auto& [name, value] : metadata.xattrs) {
    XattrPlace at{.fd = object.fd, .path = {}};
    if (object.how == Object::How::kLink) {
      at.path = ProcPath(object.place.parent_fd) + "/" + object.place.name;
    }
    // setxattr(2) follows /proc/self/fd/N to the object; lsetxattr would act on the proc link
    // itself, so a device or fifo goes through its parent too.
    if (object.how == Object::How::kPath) {
      at.path = ProcPath(object.place.parent_fd) + "/" + object.place.name;
    }
    if (auto set = SetXattr(at, name, value, 0); !set) {
      set.error().dest = name;
      return set;
    }
  }
  return Done{};
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
Status Apply(const Object& object, const Metadata& metadata) {
  if (metadata.uid || metadata.gid) {
    const auto uid = metadata.uid.value_or(static_cast<uint32_t>(-1));
    const auto gid = metadata.gid.value_or(static_cast<uint32_t>(-1));
    if (fchownat(object.fd, "", uid, gid, AT_EMPTY_PATH) != 0) return Failed("fchownat");
  }
  if (auto set = SetXattrs(object, metadata); !set) return set;
  if (metadata.mode) {
    if (auto set = SetMode(object, *metadata.mode); !set) return set;
  }
  if (metadata.mtime) {
    const timespec times[2] = {*metadata.mtime, *metadata.mtime};
    // AT_EMPTY_PATH is of 5.8 here; the link's name does for the older.
    const int result = object.how == Object::How::kOpen
                           ? futimens(object.fd, times)
                           : utimensat(object.place.parent_fd, object.place.name.c_str(), times,
                                       AT_SYMLINK_NOFOLLOW);
    if (result != 0) return Failed("utimensat");
  }
  return Done{};
}

// Opens what is there without following it and gives it metadata.
Status ApplyAt(const Place& place, const Metadata& metadata) {
  const Fd fd(openat(place.parent_fd, place.name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return Failed("openat");
  struct stat stat {};
  if (fstat(fd.get(), &stat) != 0) return Failed("fstat");
  if (S_ISLNK(stat.st_mode)) return Apply({fd.get(), Object::How::kLink, place}, metadata);
  if (!S_ISREG(stat.st_mode) && !S_ISDIR(stat.st_mode)) {
    return Apply({fd.get(), Object::How::kPath, place}, metadata);
  }
  const Fd open(
      openat(place.parent_fd, place.name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!open) return Failed("openat");
  return Apply({open.get(), Object::How::kOpen, place}, metadata);
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
  explicit Batch(int root_fd) : parents_(root_fd) {}

  Status Run(FileOp& op) {
    auto place = parents_.Locate(op.path);
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
        return ApplyAt(*place, op.metadata);
      case FileOp::Kind::kRemove:
        return Remove(*place, op);
      case FileOp::Kind::kRename:
        return Rename(*place, op);
      case FileOp::Kind::kCreate:
        return File(*place, op);
      case FileOp::Kind::kWrite:
        return Write(*place, op);
    }
    return SysError{.code = EINVAL, .syscall = "fileops"};
  }

 private:
  // 0600 until the metadata is on: nobody else reads a file whose owner and mode are still to come.
  static Status File(const Place& place, FileOp& op) {
    constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    const Fd fd(openat(place.parent_fd, place.name.c_str(), kFlags, 0600));
    if (!fd) return Failed("openat");
    if (auto written = WriteAll(fd.get(), op.data, 0); !written) return written;
    // A length beyond the data makes a hole.
    if (op.offset > 0 && ftruncate(fd.get(), op.offset) != 0) return Failed("ftruncate");
    return Apply({fd.get(), Object::How::kOpen, place}, op.metadata);
  }

  static Status Write(const Place& place, FileOp& op) {
    const Fd fd(openat(place.parent_fd, place.name.c_str(), O_WRONLY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd) return Failed("openat");
    return WriteAll(fd.get(), op.data, op.offset);
  }

  static Status Dir(const Place& place, const FileOp& op) {
    const bool made = mkdirat(place.parent_fd, place.name.c_str(), 0700) == 0;
    if (!made && errno != EEXIST) return Failed("mkdirat");
    const Fd fd(openat(place.parent_fd, place.name.c_str(),
                       O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    // What is there is not a directory: say what mkdirat said.
    if (!fd && !made && (errno == ENOTDIR || errno == ELOOP)) {
      return SysError{.code = EEXIST, .syscall = "mkdirat"};
    }
    if (!fd) return Failed("openat");
    return Apply({fd.get(), Object::How::kOpen, place}, op.metadata);
  }

  static Status Symlink(const Place& place, const FileOp& op) {
    if (symlinkat(op.target.c_str(), place.parent_fd, place.name.c_str()) != 0)
      return Failed("symlinkat");
    return ApplyAt(place, op.metadata);
  }

  static Status Node(const Place& place, const FileOp& op) {
    const auto mode = op.metadata.mode.value_or(0);
    const auto device = makedev(op.major_number, op.minor_number);
    if (mknodat(place.parent_fd, place.name.c_str(), mode, device) != 0) return Failed("mknodat");
    return ApplyAt(place, op.metadata);
  }

  Status Link(const Place& place, const FileOp& op) {
    // Locating the target may drop the parent from the cache, so that one is held by a descriptor
    // of its own.
    const Fd parent(fcntl(place.parent_fd, F_DUPFD_CLOEXEC, 0));
    if (!parent) return Failed("fcntl");
    auto target = parents_.Locate(op.target);
    if (!target) return target.error();
    if (linkat(target->parent_fd, target->name.c_str(), parent.get(), place.name.c_str(), 0) != 0) {
      return Failed("linkat");
    }
    return Done{};
  }

  Status Remove(const Place& place, const FileOp& op) {
    if (op.recursive) {
      auto removed = RemoveTree(place.parent_fd, place.name);
      parents_.Clear();
      return removed;
    }
    int result = unlinkat(place.parent_fd, place.name.c_str(), 0);
    if (result != 0 && errno == EISDIR) {
      result = unlinkat(place.parent_fd, place.name.c_str(), AT_REMOVEDIR);
    }
    const int code = errno;
    parents_.Clear();
    if (result == 0 || (code == ENOENT && op.missing_ok)) return Done{};
    errno = code;
    return Failed("unlinkat");
  }

  Status Rename(const Place& place, const FileOp& op) {
    const Fd parent(fcntl(place.parent_fd, F_DUPFD_CLOEXEC, 0));
    if (!parent) return Failed("fcntl");
    auto dest = parents_.Locate(op.target);
    if (!dest) return dest.error();
    const int result =
        renameat(parent.get(), place.name.c_str(), dest->parent_fd, dest->name.c_str());
    const int code = errno;
    parents_.Clear();
    if (result == 0) return Done{};
    errno = code;
    return Failed("renameat");
  }

  Parents parents_;
};

}  // namespace

Status RunFileOps(int root_fd, std::vector<FileOp>& ops) {
  Batch batch(root_fd);
  for (uint32_t i = 0; i < ops.size(); i++) {
    auto done = batch.Run(ops[i]);
    if (done) continue;
    auto& error = done.error();
    error.index = i;
    error.path = ops[i].path;
    if (!ops[i].target.empty() && !error.dest) error.dest = ops[i].target;
    return std::move(error);
  }
  return Done{};
}

}  // namespace overlaid
