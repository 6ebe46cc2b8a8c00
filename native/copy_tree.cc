#include "copy_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <map>

#include "copy_content.h"
#include "copy_meta.h"
#include "dirent.h"
#include "open_quietly.h"
#include "resolve.h"
#include "statx.h"

namespace overlaid {
namespace {

constexpr int kOfName = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;

// Who a file is, for hard links and to check `..` on the way up.
using FileID = std::array<uint64_t, 3>;
FileID IDOf(const sys::Statx& stat) { return {stat.dev_major, stat.dev_minor, stat.ino}; }

// One directory on the way down.
struct Level {
  sys::Statx stat;
  FileID target;
  // What of it is still to be copied.
  std::vector<std::string> folders;
  // Bytes of `path_` that name it.
  size_t path_length;
  // Whether it is there already and is only passed through.
  bool is_given;
};

// A file that has more names than were met so far.
struct Linked {
  std::string path;
  uint32_t names_left;
};

class TreeCopy {
 public:
  TreeCopy(const CopyRequest& request, const std::atomic<bool>& cancelled)
      : request_(request), cancelled_(cancelled), content_(cancelled) {}

  Status Run() {
    if (request_.only) return CopyNamed(*request_.only);
    if (auto entered = Begin("", false); !entered) return entered;
    StripInherited(PlaceOf(to_.get(), -1, ""));
    if (auto filled = Fill(); !filled) return filled;
    return CopyFolders();
  }

 private:
  Status CopyNamed(const std::vector<std::string>& paths) {
    for (const auto& path : paths) {
      const size_t slash = path.rfind('/');
      const size_t start = slash == std::string::npos ? 0 : slash + 1;
      if (auto begun = Begin(path.substr(0, start), true); !begun) return begun;
      if (auto copied = Visit(path.substr(start), DT_UNKNOWN); !copied) return copied;
      if (auto copied = CopyFolders(); !copied) return copied;
    }
    return Done{};
  }

  // Opens the folder `path`, which is in both trees.
  Status Begin(const std::string& path, bool is_given) {
    path_ = path;
    Fd from(OpenFolderDeep(request_.from_fd, path));
    if (!from) return Failure("openat2", "");
    Fd to(OpenFolderDeep(request_.to_fd, path));
    if (!to) return Failure("openat2", "");
    return Push(std::move(from), std::move(to), is_given);
  }

  Status Push(Fd from, Fd to, bool is_given) {
    Level level{
        .stat = {}, .target = {}, .folders = {}, .path_length = path_.size(), .is_given = is_given};
    sys::Statx target{};
    if (StatAt(from.get(), "", AT_EMPTY_PATH, &level.stat) != 0) return Failure("statx", "");
    if (StatAt(to.get(), "", AT_EMPTY_PATH, &target) != 0) return Failure("statx", "");
    level.target = IDOf(target);
    levels_.push_back(std::move(level));
    from_ = std::move(from);
    to_ = std::move(to);
    return Done{};
  }

  // Copies until nothing is left of the folder that was begun with.
  Status CopyFolders() {
    while (!levels_.empty()) {
      if (cancelled_) return Cancelled();
      auto& folders = levels_.back().folders;
      if (folders.empty()) {
        if (auto left = Leave(); !left) return left;
        continue;
      }
      const std::string next = std::move(folders.back());
      folders.pop_back();
      if (auto entered = Enter(next); !entered) return entered;
    }
    return Done{};
  }

  Status Enter(const std::string& name) {
    Fd from(OpenChildDirectory(from_.get(), name.c_str()));
    // Gone since it was listed.
    if (!from && errno == ENOENT) return Done{};
    if (!from) return Failure("openat2", name);
    if (mkdirat(to_.get(), name.c_str(), 0700) != 0) return Failure("mkdirat", name);
    constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    Fd to(openat(to_.get(), name.c_str(), kFlags));
    if (!to) return Failure("openat", name);
    if (levels_.back().is_given) StripInherited(PlaceOf(to.get(), -1, ""));
    path_.append(name).push_back('/');
    if (auto pushed = Push(std::move(from), std::move(to), false); !pushed) return pushed;
    return Fill();
  }

  // Copies all that is in the folder and is none itself.
  Status Fill() {
    auto entries = ReadDirectory(from_.get());
    if (!entries) {
      errno = entries.error().code;
      return Failure("getdents64", "");
    }
    // Near each other on the disk, as a rule.
    std::sort(entries->begin(), entries->end(), [](auto& a, auto& b) { return a.ino < b.ino; });
    for (const auto& entry : *entries) {
      if (cancelled_) return Cancelled();
      if (auto copied = Visit(entry.name, entry.type); !copied) return copied;
    }
    return Done{};
  }

  // `type` is what the directory said, and may be unknown.
  Status Visit(const std::string& name, uint8_t type) {
    sys::Statx stat{};
    if (type != DT_REG && type != DT_DIR) {
      if (StatAt(from_.get(), name.c_str(), kOfName, &stat) != 0) return GoneOr("statx", name);
      type = static_cast<uint8_t>(IFTODT(stat.mode));
    }
    if (type == DT_REG) return CopyFile(name);
    // It means nothing without the process that listens.
    if (type == DT_SOCK) return Done{};
    if (type != DT_DIR) return CopyOther(name, stat);
    levels_.back().folders.push_back(name);
    return Done{};
  }

  Status CopyFile(const std::string& name) {
    // O_NONBLOCK: a fifo that someone put in a file's place must not hang the reader.
    const Fd in = OpenQuietly(from_.get(), name.c_str(), O_NONBLOCK);
    if (!in) return GoneOr("openat", name);
    sys::Statx stat{};
    if (StatAt(in.get(), "", AT_EMPTY_PATH, &stat) != 0) return Failure("statx", name);
    auto linked = Link(name, stat);
    if (!linked) return linked.error();
    if (*linked) return Done{};
    constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    const Fd out(openat(to_.get(), name.c_str(), kFlags, 0600));
    if (!out) return Failure("openat", name);
    if (auto copied = content_.Copy(in.get(), out.get(), stat); !copied) return At(name, copied);
    return GiveMeta(name, PlaceOf(in.get(), -1, name), out.get(), stat);
  }

  // Symlinks, devices, fifos.
  Status CopyOther(const std::string& name, const sys::Statx& stat) {
    auto linked = Link(name, stat);
    if (!linked) return linked.error();
    if (*linked) return Done{};
    if (S_ISLNK(stat.mode)) {
      auto target = ReadLink(from_.get(), name);
      if (!target) return At(name, target.error());
      if (symlinkat(target->c_str(), to_.get(), name.c_str()) != 0)
        return Failure("symlinkat", name);
    } else {
      const auto device = makedev(stat.rdev_major, stat.rdev_minor);
      if (mknodat(to_.get(), name.c_str(), stat.mode & ~07777, device) != 0)
        return Failure("mknodat", name);
    }
    return GiveMeta(name, PlaceOf(-1, from_.get(), name), -1, stat);
  }

  // Makes `name` another name of a file that is copied already; whether it was one.
  Result<bool> Link(const std::string& name, const sys::Statx& stat) {
    if (stat.nlink < 2) return false;
    const auto found = linked_.find(IDOf(stat));
    if (found == linked_.end()) {
      linked_[IDOf(stat)] = {.path = path_ + name, .names_left = stat.nlink - 1};
      return false;
    }
    auto& [path, names_left] = found->second;
    const size_t slash = path.rfind('/');
    const size_t start = slash == std::string::npos ? 0 : slash + 1;
    const Fd folder(OpenFolderDeep(request_.to_fd, std::string_view(path).substr(0, start)));
    if (!folder) return Failure("openat2", name);
    if (linkat(folder.get(), path.c_str() + start, to_.get(), name.c_str(), 0) != 0) {
      if (errno != EMLINK) return Failure("linkat", name);
      // As many as this file system allows: the next ones are of another copy.
      path = path_ + name;
      return false;
    }
    if (--names_left == 0) linked_.erase(found);
    return true;
  }

  Status GiveMeta(const std::string& name, const XattrPlace& source, int out,
                  const sys::Statx& stat) {
    auto xattrs = AllXattrs(source);
    if (!xattrs) return At(name, xattrs.error());
    std::erase_if(*xattrs, [this](const auto& xattr) {
      return std::ranges::count(request_.left_out, xattr.name) > 0;
    });
    const NewEntry entry{.fd = out, .parent = to_.get(), .name = name};
    // Others are in folders that inherited nothing.
    if (!levels_.empty() && levels_.back().is_given) StripInherited(PlaceOf(out, to_.get(), name));
    if (auto given = SetMeta(entry, stat, *xattrs); !given) return At(name, given.error());
    return Done{};
  }

  // Gives the folder its metadata now that nothing is added to it any more, and climbs out of it.
  Status Leave() {
    const Level level = std::move(levels_.back());
    levels_.pop_back();
    if (!level.is_given) {
      if (auto given = GiveMeta("", PlaceOf(from_.get(), -1, ""), to_.get(), level.stat); !given)
        return given;
    }
    if (levels_.empty()) return Done{};
    const auto& above = levels_.back();
    if (auto climbed = Climb(from_, IDOf(above.stat)); !climbed) return climbed;
    if (auto climbed = Climb(to_, above.target); !climbed) return climbed;
    path_.resize(above.path_length);
    return Done{};
  }

  // `..` must be the folder that we came from: were the tree moved meanwhile, it would be another.
  Status Climb(Fd& here, const FileID& expected) {
    Fd parent(openat(here.get(), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    sys::Statx stat{};
    if (!parent) return Failure("openat", "");
    if (StatAt(parent.get(), "", AT_EMPTY_PATH, &stat) != 0) return Failure("statx", "");
    if (IDOf(stat) != expected) {
      errno = ESTALE;
      return Failure("openat", "");
    }
    here = std::move(parent);
    return Done{};
  }

  // The path of `name` in the current folder, of the folder itself where that is empty.
  std::string PathTo(const std::string& name) const {
    std::string path = path_ + name;
    if (path.ends_with('/')) path.pop_back();
    return path.empty() ? "." : path;
  }

  SysError Failure(const char* syscall, const std::string& name) const {
    const int code = errno;
    return {.code = code, .syscall = syscall, .path = PathTo(name)};
  }

  SysError At(const std::string& name, SysError error) const {
    error.path = PathTo(name);
    return error;
  }
  Status At(const std::string& name, Status& status) const { return At(name, status.error()); }

  // A name that went away after it was listed is no failure.
  Status GoneOr(const char* syscall, const std::string& name) const {
    if (errno == ENOENT) return Done{};
    return Failure(syscall, name);
  }

  const CopyRequest& request_;
  const std::atomic<bool>& cancelled_;
  // The current folder in both trees.
  Fd from_;
  Fd to_;
  std::vector<Level> levels_;
  // Of the current folder below the roots, with a slash after it; empty for the root.
  std::string path_;
  std::map<FileID, Linked> linked_;
  ContentCopy content_;
};

}  // namespace

Status CopyTree(const CopyRequest& request, const std::atomic<bool>& cancelled) {
  return TreeCopy(request, cancelled).Run();
}

}  // namespace overlaid
