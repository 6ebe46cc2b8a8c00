#include "copier.h"

#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "fd.h"

namespace overlaid {
namespace {

constexpr size_t kBufferSize = size_t{1} << 20;

Result<uint64_t> Failure(const char* syscall) {
  return SysError{.code = errno, .syscall = syscall};
}

}  // namespace

Result<uint64_t> Copier::Copy(uint64_t count) {
  uint64_t done = 0;
  while (done < count) {
    auto moved = SkipHole(count - done);
    if (moved && *moved == 0) moved = CopySome(count - done);
    if (!moved) return moved;
    if (*moved == 0) break;
    done += *moved;
  }
  return done;
}

// Moves both positions over a hole where that leaves one in `out` too: in a file, at its end,
// where nothing is overwritten. Whoever writes next makes the file longer. Gives 0 for none.
Result<uint64_t> Copier::SkipHole(uint64_t count) {
  if (data_left_ > 0 || !seeks_) return uint64_t{0};
  const off_t at = lseek(in_, 0, SEEK_CUR);
  const off_t data = at < 0 ? -1 : DataFrom(at);
  seeks_ = data >= 0;
  if (!seeks_) return uint64_t{0};
  const off_t end = lseek(in_, data, SEEK_HOLE);
  const auto hole = std::min<uint64_t>(static_cast<uint64_t>(data - at), count);
  const bool skipped = hole > 0 && ExtendByHole(hole);
  const off_t next = skipped ? at + static_cast<off_t>(hole) : at;
  if (lseek(in_, next, SEEK_SET) < 0) return Failure("lseek");
  // Of a hole that goes on beyond `count` the rest is looked for again.
  const bool is_data = !skipped || next == data;
  data_left_ = is_data && end > next ? static_cast<uint64_t>(end - next) : 0;
  return skipped ? hole : 0;
}

// Where the next data is, or the end of the file; -1 where the file does not tell.
off_t Copier::DataFrom(off_t at) const {
  const off_t data = lseek(in_, at, SEEK_DATA);
  if (data >= 0 || errno != ENXIO) return data;
  return std::max(at, lseek(in_, 0, SEEK_END));
}

bool Copier::ExtendByHole(uint64_t length) {
  struct stat out {};
  const int flags = fcntl(out_, F_GETFL);
  if (flags < 0 || (flags & O_APPEND) != 0) return false;
  if (fstat(out_, &out) != 0 || !S_ISREG(out.st_mode)) return false;
  const off_t at = lseek(out_, 0, SEEK_CUR);
  if (at < out.st_size) return false;
  return lseek(out_, static_cast<off_t>(length), SEEK_CUR) >= 0;
}

Result<uint64_t> Copier::CopySome(uint64_t count) {
  if (data_left_ > 0) count = std::min(count, data_left_);
  const auto moved = CopyOnce(static_cast<size_t>(count));
  if (moved < 0) return Failure(syscall_);
  data_left_ -= std::min(data_left_, static_cast<uint64_t>(moved));
  return static_cast<uint64_t>(moved);
}

ssize_t Copier::CopyOnce(size_t count) {
  if (way_ == Way::kCopyFileRange) {
    const auto moved =
        RetryEintr([&] { return copy_file_range(in_, nullptr, out_, nullptr, count, 0); });
    // 0 where there is more: some file systems of the kernel's own have no sizes.
    if (moved > 0) return moved;
    way_ = Way::kSendfile;
  }
  if (way_ == Way::kSendfile) {
    const auto moved = RetryEintr([&] { return sendfile(out_, in_, nullptr, count); });
    if (moved > 0) return moved;
    way_ = Way::kReadWrite;
  }
  return ReadWrite(count);
}

ssize_t Copier::ReadWrite(size_t count) {
  buffer_.resize(kBufferSize);
  syscall_ = "read";
  const auto got =
      RetryEintr([&] { return read(in_, buffer_.data(), std::min(count, buffer_.size())); });
  for (ssize_t at = 0; at < got;) {
    syscall_ = "write";
    const auto put =
        RetryEintr([&] { return write(out_, buffer_.data() + at, static_cast<size_t>(got - at)); });
    if (put < 0) return put;
    at += put;
  }
  return got;
}

}  // namespace overlaid
