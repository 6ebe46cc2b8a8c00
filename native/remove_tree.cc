#include "remove_tree.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vector>

#include "dirent.h"
#include "fd.h"
#include "resolve.h"

namespace overlaid {
namespace {

// One directory on the way down: who it is, to check `..` on the way up, and which folders are still to do.
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

  // Goes into the directory `name`, and removes there all that is not a directory.
  Status Enter(int from, const std::string& name, bool& missing) {
    missing = false;
    Fd fd(OpenChildDirectory(from, name.c_str()));
    if (!fd && errno == ENOENT) {
      missing = true;
      return Done{};
    }
    if (!fd) return Failure("openat2", name);
    struct stat stat{};
    if (fstat(fd.get(), &stat) != 0) return Failure("fstat", name);
    auto entries = ReadDirectory(fd.get());
    if (!entries) {
      errno = entries.error().code;
      return Failure("getdents64", name);
    }
    here_ = std::move(fd);
    levels_.push_back({name, stat.st_dev, stat.st_ino, {}});
    for (auto& entry : *entries) {
      if (auto removed = RemoveEntry(std::move(entry.name)); !removed) return removed;
    }
    return Done{};
  }

  // By trial, not by d_type, which may be unknown: unlink of a directory is EISDIR on Linux (POSIX: EPERM).
  Status RemoveEntry(std::string name) {
    if (unlinkat(here_.get(), name.c_str(), 0) == 0 || errno == ENOENT) return Done{};
    const int code = errno;
    struct stat stat{};
    const bool is_folder = (code == EISDIR || code == EPERM) &&
                           fstatat(here_.get(), name.c_str(), &stat, AT_SYMLINK_NOFOLLOW) == 0 &&
                           S_ISDIR(stat.st_mode);
    errno = code;
    if (!is_folder) return Failure("unlinkat", name);
    levels_.back().folders.push_back(std::move(name));
    return Done{};
  }

  // Climbs out of an emptied directory and removes it. `..` must be the directory that we came from: were the
  // tree moved meanwhile, it would be another's.
  Status Leave() {
    Fd parent(levels_.size() == 1 ? fcntl(dirfd_, F_DUPFD_CLOEXEC, 0)
                                  : openat(here_.get(), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    const std::string name = std::move(levels_.back().name);
    levels_.pop_back();
    // AT_FDCWD cannot be duplicated, and needs not be.
    if (!parent && !(levels_.empty() && dirfd_ == AT_FDCWD)) return Failure("openat", name);
    if (!levels_.empty()) {
      struct stat stat{};
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

}  // namespace

Status RemoveTree(int dirfd, const std::string& name) {
  // The common case of a batch: a single file.
  if (unlinkat(dirfd, name.c_str(), 0) == 0 || errno == ENOENT) return Done{};
  if (errno != EISDIR && errno != EPERM) {
    return SysError{.code = errno, .syscall = "unlinkat", .path = name};
  }
  const int code = errno;
  struct stat stat{};
  if (fstatat(dirfd, name.c_str(), &stat, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(stat.st_mode)) {
    return SysError{.code = code, .syscall = "unlinkat", .path = name};
  }
  return Remover(dirfd, name).Run();
}

}  // namespace overlaid
