#include "dirent.h"

#include <dirent.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <cstddef>
#include <cstring>
#include <string_view>

#include "fd.h"

namespace overlaid {
namespace {

constexpr size_t kBufferSize = size_t{64} * 1024;

// struct linux_dirent64; glibc's dirent64 is the same but musl hides the name.
struct Record {
  uint64_t ino;
  int64_t off;
  uint16_t reclen;
  uint8_t type;
};
constexpr size_t kNameOffset = 19;
static_assert(offsetof(Record, type) + 1 == kNameOffset);

void AppendRecords(const char* at, const char* end, std::vector<Dirent>& entries) {
  while (at < end) {
    Record record{};
    std::memcpy(&record, at, kNameOffset);
    const std::string_view name(at + kNameOffset);
    if (name != "." && name != "..")
      entries.push_back({std::string(name), record.type, record.ino});
    at += record.reclen;
  }
}

}  // namespace

Result<std::vector<Dirent>> ReadDirectory(int fd) {
  std::vector<Dirent> entries;
  alignas(8) std::array<char, kBufferSize> buffer;  // NOLINT: filled by the kernel
  for (;;) {
    const auto length =
        RetryEintr([&] { return syscall(SYS_getdents64, fd, buffer.data(), buffer.size()); });
    if (length < 0) return SysError{.code = errno, .syscall = "getdents64"};
    if (length == 0) return entries;
    AppendRecords(buffer.data(), buffer.data() + length, entries);
  }
}

Result<std::string> ReadLink(int dirfd, const std::string& path) {
  std::string target(PATH_MAX, '\0');
  const auto length = readlinkat(dirfd, path.c_str(), target.data(), target.size());
  if (length < 0) return SysError{.code = errno, .syscall = "readlinkat", .path = path};
  target.resize(static_cast<size_t>(length));
  return target;
}

}  // namespace overlaid
