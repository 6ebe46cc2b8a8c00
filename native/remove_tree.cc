#include "remove_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vector>

#include "btrfs_tree.h"
#include "dirent.h"
#include "fd.h"
#include "resolve.h"

namespace overlaid {
namespace {

// One directory on the way down: who it is, to check `..` on the way up, and which folders are
// still to do.
struct Level {
  std::string name;
  dev_t dev;
  ino_t ino;
  std::vector<std::string> folders;
};

class Remover {
 public:
  Remover(int dirfd, std::string top) : dirfd_(dirfd), top_(std::move(top)) {}

  Status Run() {
    bool missing = false;
    if (auto entered = Enter(dirfd_, top_, missing); !entered) return entered;
    if (missing) return Done{};
    while (!levels_.empty()) {
      auto& folders = levels_.back().folders;
      if (folders.empty()) {
        if (auto left = Leave(); !left) return left;
        continue;
      }
      const std::string next = std::move(folders.back());
      folders.pop_back();
      if (auto entered = Enter(here_.get(), next, missing); !entered) return entered;
    }
    return Done{};
  }

 private:
  SysError Failure(const char* syscall, const std::string& name) const {
    SysError error{.code = errno, .syscall = syscall};
    std::string path;
    for (const auto& level : levels_) path += level.name + "/";
    error.path = path + name;
    return error;
  }

  // Goes into the directory `name`, and removes there all that is not a directory. `missing` where
  // there is nothing to go into, or no more.
  Status Enter(int from, const std::string& name, bool& missing) {
    missing = false;
    Fd fd(OpenChildDirectory(from, name.c_str()));
    if (!fd && errno == ENOENT) {
      missing = true;
      return Done{};
    }
    if (!fd) return Failure("openat2", name);
    struct stat stat {};
    if (fstat(fd.get(), &stat) != 0) return Failure("fstat", name);
    // All at once; where that cannot be (no right to, before 5.7 with others in it), entry by
    // entry.
    if (btrfs::IsSubvolume(fd.get(), stat.st_ino) &&
        btrfs::DestroySubvolume(from, name, fd.get())) {
      missing = true;
      return Done{};
    }
    auto entries = ReadDirectory(fd.get());
    if (!entries) {
      errno = entries.error().code;
      return Failure("getdents64", name);
    }
    here_ = std::move(fd);
    levels_.push_back({name, stat.st_dev, stat.st_ino, {}});
    for (auto& entry : *entries) {
      auto removed = entry.type == DT_DIR ? RemoveFolder(std::move(entry.name))
                                          : RemoveEntry(std::move(entry.name));
      if (!removed) return removed;
    }
    return Done{};
  }

  // Many are empty. Why one cannot be removed as it is (ENOTEMPTY, EBUSY of a mount point) shows in
  // going there.
  Status RemoveFolder(std::string name) {
    if (unlinkat(here_.get(), name.c_str(), AT_REMOVEDIR) != 0) {
      levels_.back().folders.push_back(std::move(name));
    }
    return Done{};
  }

  // By trial, since the type may be unknown or another by now: unlink of a directory is EISDIR on
  // Linux (POSIX: EPERM).
  Status RemoveEntry(std::string name) {
    if (unlinkat(here_.get(), name.c_str(), 0) == 0 || errno == ENOENT) return Done{};
    const int code = errno;
    struct stat stat {};
    const bool is_folder = (code == EISDIR || code == EPERM) &&
                           fstatat(here_.get(), name.c_str(), &stat, AT_SYMLINK_NOFOLLOW) == 0 &&
                           S_ISDIR(stat.st_mode);
    errno = code;
    if (!is_folder) return Failure("unlinkat", name);
    levels_.back().folders.push_back(std::move(name));
    return Done{};
  }

  // Climbs out of an emptied directory and removes it. `..` must be the directory that we came
  // from: were the tree moved meanwhile, it would be another's.
  Status Leave() {
    Fd parent(levels_.size() == 1 ? fcntl(dirfd_, F_DUPFD_CLOEXEC, 0)
                                  : openat(here_.get(), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    const std::string name = std::move(levels_.back().name);
    levels_.pop_back();
    if (!parent) return Failure("openat", name);
    if (!levels_.empty()) {
      struct stat stat {};
      if (fstat(parent.get(), &stat) != 0) return Failure("fstat", name);
      if (stat.st_dev != levels_.back().dev || stat.st_ino != levels_.back().ino) {
        errno = ESTALE;
        return Failure("openat", name);
      }
    }
    here_ = std::move(parent);
    const int from = levels_.empty() ? dirfd_ : here_.get();
    if (unlinkat(from, name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) return Done{};
    return Failure("unlinkat", name);
  }

  int dirfd_;
  std::string top_;
  Fd here_;
  std::vector<Level> levels_;
};

// The last component of `path` and the directory that it is in.
Result<std::pair<Fd, std::string>> SplitLast(int dirfd, const std::string& path) {
  const size_t end = path.find_last_not_of('/');
  const size_t slash = end == std::string::npos ? end : path.rfind('/', end);
  const size_t start = slash == std::string::npos ? 0 : slash + 1;
  const std::string name = end == std::string::npos ? "" : path.substr(start, end + 1 - start);
  if (name.empty() || name == "." || name == "..") {
    return SysError{.code = EINVAL, .syscall = "unlinkat", .path = path};
  }
  const std::string folder = start == 0 ? "." : path.substr(0, start);
  Fd parent(openat(dirfd, folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!parent && errno != ENOENT)
    return SysError{.code = errno, .syscall = "openat", .path = folder};
  return std::make_pair(std::move(parent), name);
}

}  // namespace

Status RemoveTree(int dirfd, const std::string& path) {
  auto split = SplitLast(dirfd, path);
  if (!split) return split.error();
  const auto& [parent, name] = *split;
  // Nothing is where nothing is.
  if (!parent) return Done{};
  // The common case of a batch: a single file.
  if (unlinkat(parent.get(), name.c_str(), 0) == 0 || errno == ENOENT) return Done{};
  const SysError error{.code = errno, .syscall = "unlinkat", .path = path};
  if (error.code != EISDIR && error.code != EPERM) return error;
  struct stat stat {};
  const bool found = fstatat(parent.get(), name.c_str(), &stat, AT_SYMLINK_NOFOLLOW) == 0;
  if (found && !S_ISDIR(stat.st_mode)) return error;
  return Remover(parent.get(), name).Run();
}

}  // namespace overlaid
