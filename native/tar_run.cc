#include "tar_run.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>

namespace overlaid {
namespace {

constexpr size_t kBlock = 512;
// The records of a PAX header that says no more than times.
constexpr size_t kMaxPax = 1024;

using Bytes = std::span<const unsigned char>;

size_t Padded(size_t size) { return (size + kBlock - 1) / kBlock * kBlock; }

std::string_view Text(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Up to the first NUL.
std::string_view Field(Bytes block, size_t offset, size_t length) {
  const auto field = Text(block.subspan(offset, length));
  return field.substr(0, field.find('\0'));
}

// Octal digits from the field's first byte on, then NULs and spaces only; of no digits 0.
std::optional<uint64_t> Octal(Bytes block, size_t offset, size_t length) {
  const auto field = block.subspan(offset, length);
  uint64_t value = 0;
  size_t at = 0;
  for (; at < length && field[at] >= '0' && field[at] <= '7'; at++)
    value = value * 8 + field[at] - '0';
  for (; at < length; at++) {
    if (field[at] != 0 && field[at] != ' ') return std::nullopt;
  }
  return value;
}

bool HasGoodChecksum(Bytes block) {
  constexpr size_t kAt = 148, kLength = 8;
  uint32_t sum = kLength * ' ';
  for (size_t i = 0; i < kBlock; i++) sum += block[i];
  for (size_t i = kAt; i < kAt + kLength; i++) sum -= block[i];
  return Octal(block, kAt, kLength) == sum && block[kAt] != 0;
}

enum class Format { kV7, kUstar, kGnu };

// nullopt for star's, and for GNU headers that have more than the common fields.
std::optional<Format> FormatOf(Bytes block) {
  const auto magic = Text(block.subspan(257, 8));
  if (magic.substr(0, 6) == std::string_view("ustar\0", 6)) {
    if (Text(block.subspan(508, 4)) == std::string_view("tar\0", 4)) return std::nullopt;
    return Format::kUstar;
  }
  if (magic != std::string_view("ustar  \0", 8)) return Format::kV7;
  if (block[345] != 0 || block[357] != 0) return std::nullopt;
  return Format::kGnu;
}

// Printable ASCII that JSON writes as it is.
bool IsSimple(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return c >= ' ' && c <= '~' && c != '"' && c != '\\'; });
}

struct Time {
  uint64_t seconds = 0;
  uint32_t nanoseconds = 0;
};

// `seconds[.fraction]`, digits past nanoseconds cut.
std::optional<Time> PaxTime(std::string_view text) {
  constexpr size_t kMaxDigits = 15;
  const auto point = std::min(text.find('.'), text.size());
  const auto whole = text.substr(0, point);
  const auto fraction = text.substr(std::min(point + 1, text.size()));
  const auto is_digits = [](std::string_view digits) {
    return std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; });
  };
  if (whole.empty() || whole.size() > kMaxDigits || !is_digits(whole) || !is_digits(fraction))
    return std::nullopt;
  Time time;
  for (const char c : whole) time.seconds = time.seconds * 10 + static_cast<uint64_t>(c - '0');
  for (size_t i = 0; i < 9; i++) {
    const auto digit = i < fraction.size() ? static_cast<uint32_t>(fraction[i] - '0') : 0;
    time.nanoseconds = time.nanoseconds * 10 + digit;
  }
  return time;
}

// The time of a PAX header that has nothing but times; sets `mtime` where it is said.
bool ReadPaxTimes(std::string_view body, std::optional<Time>& mtime) {
  while (!body.empty()) {
    size_t length = 0, digits = 0;
    for (; digits < body.size() && digits < 4 && body[digits] >= '0' && body[digits] <= '9';
         digits++)
      length = length * 10 + static_cast<size_t>(body[digits] - '0');
    if (length < digits + 3 || length > body.size() || body[digits] != ' ' ||
        body[length - 1] != '\n')
      return false;
    const auto record = body.substr(digits + 1, length - digits - 2);
    const auto equals = record.find('=');
    if (equals == std::string_view::npos) return false;
    const auto key = record.substr(0, equals);
    if (key == "mtime") {
      mtime = PaxTime(record.substr(equals + 1));
      if (!mtime) return false;
    } else if (key != "atime" && key != "ctime") {
      return false;
    }
    body.remove_prefix(length);
  }
  return true;
}

// The names of a run, and what of each is its cleaned folder and last component.
class Names {
 public:
  explicit Names(std::span<char> room) : room_(room) {}

  size_t used() const { return used_; }

  // Takes the member's name; false when there is no room, or cleaning would change more than a `./`
  // before it and, of a folder, the slash after it.
  bool Add(std::string_view prefix, std::string_view name, PlainMember& member) {
    const size_t start = used_;
    if (!prefix.empty() && !(Append(prefix) && Append("/"))) return false;
    if (!Append(name)) return false;
    const std::string_view all(&room_[start], used_ - start);
    if (!IsSimple(all) || all.find(".wh.") != std::string_view::npos) return false;
    auto clean = all;
    while (clean.starts_with("./")) clean.remove_prefix(2);
    if (member.type == '5' && clean.ends_with('/')) clean.remove_suffix(1);
    if (!IsClean(clean)) return false;
    const auto slash = clean.rfind('/');
    const bool at_root = slash == std::string_view::npos;
    const auto base = at_root ? clean : clean.substr(slash + 1);
    const auto folder = at_root ? std::string_view() : clean.substr(0, slash);
    member.name_start = Offset(all);
    member.name_length = static_cast<uint32_t>(all.size());
    member.folder_start = at_root ? 0 : Offset(folder);
    member.folder_length = static_cast<uint32_t>(folder.size());
    member.base_start = Offset(base);
    member.base_length = static_cast<uint32_t>(base.size());
    member.same_folder = has_folder_ && folder == folder_ ? 1 : 0;
    folder_ = folder;
    has_folder_ = true;
    return true;
  }

  bool AddLink(std::string_view link, PlainMember& member) {
    const size_t start = used_;
    if (link.empty() || !Append(link)) return false;
    member.link_start = static_cast<uint32_t>(start);
    member.link_length = static_cast<uint32_t>(link.size());
    return true;
  }

 private:
  bool Append(std::string_view text) {
    if (text.size() > room_.size() - used_) return false;
    std::copy(text.begin(), text.end(), room_.begin() + static_cast<ptrdiff_t>(used_));
    used_ += text.size();
    return true;
  }

  uint32_t Offset(std::string_view part) const {
    return static_cast<uint32_t>(part.data() - room_.data());
  }

  static bool IsClean(std::string_view path) {
    for (;;) {
      const auto slash = path.find('/');
      const auto part = path.substr(0, slash);
      if (part.empty() || part == "." || part == "..") return false;
      if (slash == std::string_view::npos) return true;
      path.remove_prefix(slash + 1);
    }
  }

  std::span<char> room_;
  size_t used_ = 0;
  std::string_view folder_;
  bool has_folder_ = false;
};

class Reader {
 public:
  Reader(Bytes chunk, size_t at, std::span<char> names) : chunk_(chunk), at_(at), names_(names) {}

  size_t at() const { return at_; }
  size_t names() const { return names_.used(); }

  // Reads the next member, moves on when it is plain.
  bool Next(PlainMember& member) {
    size_t at = at_;
    std::optional<Time> mtime;
    auto block = Block(at);
    if (block.empty() || !HasGoodChecksum(block)) return false;
    if (block[156] == 'x') {
      if (!ReadPax(block, at, mtime)) return false;
      block = Block(at);
      if (block.empty() || !HasGoodChecksum(block)) return false;
    }
    member = {};
    member.header_start = static_cast<uint32_t>(at_);
    member.body_start = static_cast<uint32_t>(at + kBlock);
    if (!ReadNumbers(block, mtime, member) || !ReadNames(block, member)) return false;
    const size_t end = at + kBlock + Padded(member.size);
    if (end > chunk_.size()) return false;
    at_ = end;
    return true;
  }

 private:
  Bytes Block(size_t at) const {
    return at <= chunk_.size() && chunk_.size() - at >= kBlock ? chunk_.subspan(at, kBlock)
                                                               : Bytes();
  }

  bool ReadPax(Bytes block, size_t& at, std::optional<Time>& mtime) const {
    const auto size = Octal(block, 124, 12);
    if (!size || *size > kMaxPax || !HasCommonNumbers(block)) return false;
    const size_t body = at + kBlock;
    if (chunk_.size() - body < Padded(*size)) return false;
    at = body + Padded(*size);
    return ReadPaxTimes(Text(chunk_.subspan(body, *size)), mtime);
  }

  // What the scanner reads of every header, and refuses when it is no number.
  static bool HasCommonNumbers(Bytes block) {
    const auto format = FormatOf(block);
    if (!format) return false;
    if (!Octal(block, 100, 8) || !Octal(block, 108, 8) || !Octal(block, 116, 8) ||
        !Octal(block, 136, 12))
      return false;
    return *format == Format::kV7 || (Octal(block, 329, 8) == 0 && Octal(block, 337, 8) == 0);
  }

  bool ReadNumbers(Bytes block, const std::optional<Time>& mtime, PlainMember& member) const {
    if (!HasCommonNumbers(block)) return false;
    const auto flag = block[156];
    member.type = flag == 0 ? '0' : flag;
    if (member.type != '0' && member.type != '1' && member.type != '2' && member.type != '5')
      return false;
    const auto size = Octal(block, 124, 12);
    // A size without a body is left to the scanner, and so is a body that ends elsewhere.
    if (!size || *size > chunk_.size() || (*size > 0 && member.type != '0')) return false;
    member.size = static_cast<uint32_t>(*size);
    member.mode = static_cast<uint32_t>(*Octal(block, 100, 8)) & 07777;
    // Seven digits at most: no id is too large.
    member.uid = static_cast<uint32_t>(*Octal(block, 108, 8));
    member.gid = static_cast<uint32_t>(*Octal(block, 116, 8));
    const auto time = mtime.value_or(Time{.seconds = *Octal(block, 136, 12), .nanoseconds = 0});
    member.mtime_low = static_cast<uint32_t>(time.seconds);
    member.mtime_high = static_cast<uint32_t>(time.seconds >> 32);
    member.mtime_nsec = time.nanoseconds;
    return true;
  }

  bool ReadNames(Bytes block, PlainMember& member) {
    const auto name = Field(block, 0, 100);
    const bool has_prefix = *FormatOf(block) == Format::kUstar;
    const auto prefix = has_prefix ? Field(block, 345, 155) : std::string_view();
    if (name.empty()) return false;
    // Old archives mark a folder by its name alone.
    if (member.type != '5' && name.ends_with('/')) return false;
    if (!names_.Add(prefix, name, member)) return false;
    const bool links = member.type == '1' || member.type == '2';
    return !links || names_.AddLink(Field(block, 157, 100), member);
  }

  Bytes chunk_;
  size_t at_;
  Names names_;
};

}  // namespace

PlainRun ReadPlainRun(std::span<const unsigned char> chunk, size_t at,
                      std::span<PlainMember> members, std::span<char> names) {
  Reader reader(chunk, at, names);
  PlainRun run;
  while (run.members < members.size() && reader.Next(members[run.members])) run.members++;
  run.names = reader.names();
  run.end = reader.at();
  return run;
}

}  // namespace overlaid
