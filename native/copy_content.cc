#include "copy_content.h"

#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>

#include "copier.h"

namespace overlaid {

Status ContentCopy::Copy(int in, int out, const sys::Statx& stat) {
  if (stat.size == 0 || Clone(in, out)) return Done{};
  constexpr uint64_t kBlock = 512;
  const bool holes = stat.blocks * kBlock < stat.size;
  Copier copier(in, out, holes);
  // Bytes between two looks at whether to go on.
  constexpr uint64_t kChunk = uint64_t{64} << 20;
  for (uint64_t left = stat.size; left > 0;) {
    if (cancelled_) return Cancelled();
    auto copied = copier.Copy(std::min(left, kChunk));
    if (!copied) return copied.error();
    // It has shrunk.
    if (*copied == 0) break;
    left -= *copied;
  }
  // A hole at the end is none before the file has its length.
  if (holes && ftruncate(out, static_cast<off_t>(stat.size)) != 0) {
    return SysError{.code = errno, .syscall = "ftruncate"};
  }
  return Done{};
}

// What keeps one file from it (a swap file, one without copy on write), copying shows; what keeps
// all is not asked for again.
bool ContentCopy::Clone(int in, int out) {
  if (!clones_) return false;
  if (ioctl(out, FICLONE, in) == 0) return true;
  clones_ = errno != EOPNOTSUPP && errno != ENOTTY && errno != EXDEV && errno != ENOSYS;
  return false;
}

}  // namespace overlaid
