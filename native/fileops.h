// The batch primitive: a list of file operations below a root, run in order on one thread. Each
// parent is resolved inside the root (resolve.h), each last component is made or opened without
// following it, and metadata goes by descriptor. What the operations mean is the caller's business.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "result.h"

namespace overlaid {

struct Metadata {
  std::optional<uint32_t> mode, uid, gid;
  std::optional<timespec> mtime;
  std::vector<std::pair<std::string, std::string>> xattrs;
};

struct FileOp {
  enum class Kind { kFile, kDir, kSymlink, kNode, kLink, kMeta, kRemove, kRename, kCreate, kWrite };

  Kind kind{};
  std::string path;
  // Of a symlink its text; of a link or rename the other path.
  std::string target;
  // Memory of JavaScript's, kept by the job.
  std::vector<iovec> data;
  Metadata metadata;
  uint32_t major_number = 0, minor_number = 0;
  // Where a write starts; the length a created file is given.
  int64_t offset = 0;
  bool recursive = false;
  bool missing_ok = false;
};

// Stops at the first failure, whose error names the operation's index and path.
Status RunFileOps(int root_fd, std::vector<FileOp>& ops);

}  // namespace overlaid
