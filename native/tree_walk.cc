#include "tree_walk.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "open_quietly.h"
#include "statx.h"
#include "tree_record.h"
#include "xattr.h"

namespace overlaid {
namespace {

// A turn of the thread pool for each batch: large enough that it does not count, small enough that
// two of them in memory don't either.
constexpr size_t kBatchBytes = size_t{1} << 20;
// Open files in one batch: of two batches a tenth of the usual limit of 1024.
constexpr size_t kBatchFiles = 64;
constexpr size_t kCloseTogether = 64;
// Looks at a name that is something else each time.
constexpr int kAttempts = 3;

void AppendValue(std::string& out, uint32_t value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

// Returns the bytes appended.
uint32_t AppendXattrs(std::string& out, const std::vector<NamedValue>& xattrs) {
  const size_t start = out.size();
  for (const auto& [name, value] : xattrs) {
    AppendValue(out, static_cast<uint32_t>(name.size()));
    AppendValue(out, static_cast<uint32_t>(value.size()));
    out.append(name).append(value);
  }
  return static_cast<uint32_t>(out.size() - start);
}

// Appends `size` bytes of the file; what it lacks, having shrunk, is NULs.
bool AppendBody(std::string& out, int fd, size_t size) {
  const size_t start = out.size();
  out.resize(start + size);
  for (size_t at = 0; at < size;) {
    const auto got = RetryEintr([&] { return read(fd, out.data() + start + at, size - at); });
    if (got < 0) return false;
    if (got == 0) break;
    at += static_cast<size_t>(got);
  }
  return true;
}

constexpr int kOfName = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;

}  // namespace

void Closing::Add(Fd fd) {
  if (!fd) return;
  fds_.push_back(fd.Release());
  if (fds_.size() >= kCloseTogether) Close();
}

// Runs of numbers by close_range(2) (5.9), which are most of them: what lies between two runs is
// another thread's.
void Closing::Close() {
  std::sort(fds_.begin(), fds_.end());
  for (size_t at = 0; at < fds_.size();) {
    size_t end = at + 1;
    while (end < fds_.size() && fds_[end] == fds_[end - 1] + 1) end++;
    const auto first = static_cast<unsigned>(fds_[at]);
    const auto last = static_cast<unsigned>(fds_[end - 1]);
    if (syscall(sys::kCloseRange, first, last, 0) != 0) {
      for (size_t i = at; i < end; i++) close(fds_[i]);
    }
    at = end;
  }
  fds_.clear();
}

bool WalkBatch::IsFull() const {
  return records.size() >= kBatchBytes || files.size() >= kBatchFiles;
}

Result<std::optional<WalkBatch>> TreeWalk::Next() {
  auto fail = [this](SysError& error) -> Result<std::optional<WalkBatch>> {
    levels_.clear();
    closing_.Close();
    return std::move(error);
  };
  if (!started_) {
    started_ = true;
    if (auto status = Start(); !status) return fail(status.error());
  }
  WalkBatch batch;
  batch.records.reserve(kBatchBytes + kBatchBytes / 4);
  while (!levels_.empty() && !batch.IsFull()) {
    Level& level = levels_.back();
    path_.resize(level.path_length);
    if (level.next == level.entries.size()) {
      levels_.pop_back();
      continue;
    }
    // Copied: what is found may be a directory, whose level moves this one.
    const Dirent entry = std::move(level.entries[level.next++]);
    if (auto status = Visit(entry.name, entry.type, batch); !status) return fail(status.error());
  }
  closing_.Close();
  if (batch.records.empty()) return std::optional<WalkBatch>();
  return std::optional(std::move(batch));
}

Status TreeWalk::Start() {
  Fd root = OpenQuietly(options_.root_fd, ".", O_DIRECTORY);
  if (!root) return Failure("openat", ".");
  Fd beside;
  if (options_.beside_fd >= 0) {
    beside = OpenQuietly(options_.beside_fd, ".", O_DIRECTORY);
    if (!beside) return Failure("openat", ".");
  }
  return Enter(std::move(root), std::move(beside));
}

Status TreeWalk::Enter(Fd dir, Fd beside) {
  auto entries = ReadDirectory(dir.get());
  // Removed since it was opened: nothing is in it any more.
  if (!entries && entries.error().code == ENOENT) entries = std::vector<Dirent>();
  if (!entries) {
    entries.error().path = path_;
    return entries.error();
  }
  std::sort(entries->begin(), entries->end(), [](auto& a, auto& b) { return a.name < b.name; });
  levels_.push_back({std::move(dir), std::move(beside), std::move(*entries), 0, path_.size()});
  return Done{};
}

Status TreeWalk::Visit(const std::string& name, uint8_t type, WalkBatch& batch) {
  Found found{};
  auto there = Find(name, type, found);
  if (!there) return there.error();
  if (!*there) return Done{};
  if (auto status = Record(name, found, batch); !status) return status;
  if (!S_ISDIR(found.stat.mode)) {
    closing_.Add(std::move(found.file));
    return Done{};
  }
  auto beside = OpenBeside(name, found);
  if (!beside) return beside.error();
  path_.append(name).push_back('/');
  return Enter(std::move(found.file), std::move(*beside));
}

Result<bool> TreeWalk::Find(const std::string& name, uint8_t type, Found& found) {
  const Level& level = levels_.back();
  auto there = OpenAs(name, type, found);
  if (!there || !*there || !level.beside) return there;
  sys::Statx stat{};
  if (StatAt(level.beside.get(), name.c_str(), kOfName, &stat) == 0)
    found.beside = stat;
  else if (errno != ENOENT)
    return Failure("statx", name);
  return true;
}

bool TreeWalk::Opens(uint8_t type) const {
  return type == DT_DIR || (type == DT_REG && options_.bodies.has_value());
}

// `type` is what the directory said, and may be unknown or out of date: what counts is the stat.
Result<bool> TreeWalk::OpenAs(const std::string& name, uint8_t type, Found& found) {
  const int dir = levels_.back().dir.get();
  for (int attempt = 0; attempt < kAttempts; attempt++) {
    if (!Opens(type)) {
      if (StatAt(dir, name.c_str(), kOfName, &found.stat) != 0) return GoneOr("statx", name);
      type = static_cast<uint8_t>(IFTODT(found.stat.mode));
      if (!Opens(type)) return true;
    }
    // O_NONBLOCK: a fifo that someone put in a file's place must not hang the reader.
    found.file = OpenQuietly(dir, name.c_str(), type == DT_DIR ? O_DIRECTORY : O_NONBLOCK);
    if (found.file) {
      if (StatAt(found.file.get(), "", AT_EMPTY_PATH, &found.stat) == 0) return true;
      return Failure("statx", name);
    }
    // Something else is there by now: looked at again.
    if (errno != ELOOP && errno != ENOTDIR && errno != ENXIO) return GoneOr("openat", name);
    type = DT_UNKNOWN;
  }
  return Failure("openat", name);
}

Status TreeWalk::Record(const std::string& name, Found& found, WalkBatch& batch) {
  auto& out = batch.records;
  const size_t start = out.size();
  RecordHead head{.length = 0,
                  .depth = static_cast<uint32_t>(levels_.size() - 1),
                  .file = -1,
                  .name_length = static_cast<uint32_t>(name.size()),
                  .target_length = 0,
                  .xattrs_length = 0,
                  .beside_xattrs_length = 0,
                  .body_length = kNoBody,
                  .facts = FactsOf(found.stat),
                  .beside = found.beside ? FactsOf(*found.beside) : RecordFacts{}};
  out.append(sizeof head, '\0').append(name);
  auto status = AppendDetails(name, found, head, out);
  if (status) status = AppendContent(found, head, batch);
  if (!status) {
    out.resize(start);
    // A name that went away after it was seen; a directory is open, and has no such failures.
    if (status.error().code == ENOENT) return Done{};
    status.error().path = path_ + name;
    return status;
  }
  static_assert(std::endian::native == std::endian::little);
  head.length = static_cast<uint32_t>(out.size() - start);
  std::memcpy(out.data() + start, &head, sizeof head);
  return Done{};
}

Status TreeWalk::AppendDetails(const std::string& name, const Found& found, RecordHead& head,
                               std::string& out) const {
  const Level& level = levels_.back();
  if (S_ISLNK(found.stat.mode)) {
    auto target = ReadLink(level.dir.get(), name);
    if (!target) return target.error();
    head.target_length = static_cast<uint32_t>(target->size());
    out.append(*target);
  }
  if (!options_.xattrs) return Done{};
  auto xattrs = AllXattrs(PlaceOf(found.file.get(), level.dir.get(), name));
  if (!xattrs) return xattrs.error();
  head.xattrs_length = AppendXattrs(out, *xattrs);
  // Those beside are for comparing what is of one kind.
  if (!found.beside || IFTODT(found.stat.mode) != IFTODT(found.beside->mode)) return Done{};
  auto others = AllXattrs(PlaceOf(-1, level.beside.get(), name));
  if (!others) return others.error();
  head.beside_xattrs_length = AppendXattrs(out, *others);
  return Done{};
}

Status TreeWalk::AppendContent(Found& found, RecordHead& head, WalkBatch& batch) const {
  if (!options_.bodies || !S_ISREG(found.stat.mode) || found.stat.size == 0) return Done{};
  if (found.stat.nlink > 1 || found.stat.size > *options_.bodies) {
    head.file = found.file.get();
    batch.files.push_back(std::move(found.file));
    return Done{};
  }
  head.body_length = static_cast<uint32_t>(found.stat.size);
  if (AppendBody(batch.records, found.file.get(), head.body_length)) return Done{};
  return SysError{.code = errno, .syscall = "read"};
}

Result<Fd> TreeWalk::OpenBeside(const std::string& name, const Found& found) {
  if (!found.beside || !S_ISDIR(found.beside->mode)) return Fd();
  Fd fd = OpenQuietly(levels_.back().beside.get(), name.c_str(), O_DIRECTORY);
  if (!fd) return Failure("openat", name);
  return fd;
}

Result<bool> TreeWalk::GoneOr(const char* syscall, const std::string& name) const {
  if (errno == ENOENT) return false;
  return Failure(syscall, name);
}

SysError TreeWalk::Failure(const char* syscall, const std::string& name) const {
  return {.code = errno, .syscall = syscall, .path = path_ + name};
}

}  // namespace overlaid
