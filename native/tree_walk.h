// A walk over a tree of files that gives all of each entry, in batches that cross into JavaScript
// as one buffer: a call and a few objects for each file would cost more than the kernel's work.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "compat.h"
#include "dirent.h"
#include "fd.h"
#include "result.h"
#include "tree_record.h"

namespace overlaid {

struct WalkOptions {
  // The tree's root; the caller keeps it open while the walk lasts.
  int root_fd = -1;
  // The root of another tree, whose entries by the same names are looked up; -1 for none.
  int beside_fd = -1;
  bool xattrs = false;
  // Regular files are opened: up to this many bytes they are read on the spot, of larger ones and
  // of those with several names the descriptor is given. nullopt: they are not opened.
  std::optional<uint32_t> bodies;
};

// Records of entries one after another (tree_record.h), and the descriptors that they name.
struct WalkBatch {
  std::string records;
  std::vector<Fd> files;

  bool IsFull() const;
};

// Descriptors that are closed some at a time: a system call for each would be a fifth of the walk.
class Closing {
 public:
  Closing() = default;
  Closing(const Closing&) = delete;
  Closing& operator=(const Closing&) = delete;
  ~Closing() { Close(); }

  void Add(Fd fd);
  void Close();

 private:
  std::vector<int> fds_;
};

// Gives everything below the root, each directory before what is in it, the names of one directory
// by their bytes. Follows no link. A name that goes away before it is reached is left out; one that
// turns into something else is what it is when it is looked at, by its open descriptor where there
// is one. In memory are the names of the directories on the way down to the current entry.
class TreeWalk {
 public:
  explicit TreeWalk(const WalkOptions& options) : options_(options) {}

  // The next entries; none at the end, and after a failure.
  Result<std::optional<WalkBatch>> Next();

 private:
  struct Level {
    Fd dir;
    Fd beside;
    std::vector<Dirent> entries;
    size_t next;
    // Bytes of `path_` that name it.
    size_t path_length;
  };
  struct Found {
    Fd file;
    sys::Statx stat;
    std::optional<sys::Statx> beside;
  };

  Status Start();
  Status Enter(Fd dir, Fd beside);
  Status Visit(const std::string& name, uint8_t type, WalkBatch& batch);
  // False when the name is gone.
  Result<bool> Find(const std::string& name, uint8_t type, Found& found);
  Result<bool> OpenAs(const std::string& name, uint8_t type, Found& found);
  bool Opens(uint8_t type) const;
  Status Record(const std::string& name, Found& found, WalkBatch& batch);
  Status AppendDetails(const std::string& name, const Found& found, RecordHead& head,
                       std::string& out) const;
  Status AppendContent(Found& found, RecordHead& head, WalkBatch& batch) const;
  Result<Fd> OpenBeside(const std::string& name, const Found& found);
  Result<bool> GoneOr(const char* syscall, const std::string& name) const;
  SysError Failure(const char* syscall, const std::string& name) const;

  WalkOptions options_;
  bool started_ = false;
  std::vector<Level> levels_;
  Closing closing_;
  // Of the current directory below the root, with a slash after it; empty for the root.
  std::string path_;
};

}  // namespace overlaid
