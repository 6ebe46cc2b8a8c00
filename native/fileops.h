// The batch primitive: a list of file operations below a root, run in order on one thread. Each
// parent is resolved inside the root (resolve.h), each last component is made or opened without
// following it, and metadata goes by descriptor. What the operations mean is the caller's business.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "result.h"

namespace overlaid {

struct FileOp {
  // As in lib/native/op-writer.ts.
  enum class Kind : uint8_t {
    kFile,
    kDir,
    kSymlink,
    kNode,
    kLink,
    kMeta,
    kRemove,
    kRename,
    kCreate,
    kWrite,
    kCount,
  };
  enum Flag : uint8_t {
    kHasMode = 1,
    kHasUid = 2,
    kHasGid = 4,
    kHasMtime = 8,
    kRecursive = 16,
    kMissingOk = 32,
  };

  Kind kind{};
  uint8_t flags = 0;
  uint32_t mode = 0, uid = 0, gid = 0;
  timespec mtime{};
  // Where a write starts; the length a created file is given.
  int64_t offset = 0;
  uint32_t major_number = 0, minor_number = 0;
  // Views of the code, each with a NUL after it.
  std::string_view path;
  // Of a symlink its text; of a link or rename the other path.
  std::string_view target;
  // Names and values in turn.
  std::vector<std::string_view> xattrs;
  std::vector<iovec> data;

  bool Has(Flag flag) const { return (flags & flag) != 0; }
};

// The operations as bytes, and the memory that they write from: one call of the addon for hundreds
// of them, without an object each.
//
//     0 length of all, a multiple of 8 · 4 kind, flags (a byte each), count of xattrs (2 bytes)
//     8 mode, uid, gid, nanoseconds (4 bytes each) · 24 seconds, offset or size (float64 each)
//     40 major, minor · 48 length of path, of target · 56 count of data · 60 zero (4 bytes each)
//     64 data: index of the buffer, offset in it, length (4 bytes each)
//        path NUL · target NUL · xattrs: length of name, of value (4 bytes each), name NUL, value
//
// Numbers are in the machine's byte order.
class OpDecoder {
 public:
  OpDecoder(std::span<const uint8_t> code, std::span<const iovec> buffers)
      : code_(code), buffers_(buffers) {}

  // Reads the next operation into `op`. False at the end, and where the code is none: see Failed.
  bool Next(FileOp& op);
  bool Failed() const { return failed_; }

 private:
  bool Fail() {
    failed_ = true;
    return false;
  }

  std::span<const uint8_t> code_;
  std::span<const iovec> buffers_;
  size_t at_ = 0;
  bool failed_ = false;
};

// Stops at the first failure, whose error names the operation's index and path.
Status RunFileOps(int root_fd, std::span<const uint8_t> code, std::span<const iovec> buffers);

}  // namespace overlaid
