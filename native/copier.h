// The bytes of one file, copied to another without a way through user space where the kernel can.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "result.h"

namespace overlaid {

// The fastest way that the two ends allow; each failure that may be of the way and not of the file
// leads to the next one.
class Copier {
 public:
  // Without `holes` none are looked for.
  Copier(int in, int out, bool holes) : in_(in), out_(out), seeks_(holes) {}

  // Copies up to `count` bytes from `in`'s position to `out`'s; fewer than asked for at its end.
  Result<uint64_t> Copy(uint64_t count);

 private:
  enum class Way { kCopyFileRange, kSendfile, kReadWrite };

  Result<uint64_t> SkipHole(uint64_t count);
  off_t DataFrom(off_t at) const;
  bool ExtendByHole(uint64_t length);
  Result<uint64_t> CopySome(uint64_t count);
  ssize_t CopyOnce(size_t count);
  ssize_t ReadWrite(size_t count);

  int in_;
  int out_;
  Way way_ = Way::kCopyFileRange;
  // Whether the file tells its holes.
  bool seeks_;
  // Bytes from `in`'s position to the next hole; 0 where that is not known.
  uint64_t data_left_ = 0;
  const char* syscall_ = "copy_file_range";
  std::vector<char> buffer_;
};

}  // namespace overlaid
