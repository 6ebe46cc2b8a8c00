#include "tar_split.h"

#include <array>
#include <charconv>
#include <cstring>

#include "crc64.h"

namespace overlaid {
namespace {

constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

// Two characters for each 12 bits.
constexpr auto kPairs = [] {
  std::array<std::array<char, 2>, 4096> pairs{};
  for (size_t i = 0; i < pairs.size(); i++) pairs[i] = {kAlphabet[i >> 6], kAlphabet[i & 63]};
  return pairs;
}();

class Writer {
 public:
  explicit Writer(char* out) : start_(out), at_(out) {}

  size_t size() const { return static_cast<size_t>(at_ - start_); }

  void Text(std::string_view text) {
    std::memcpy(at_, text.data(), text.size());
    at_ += text.size();
  }

  void Number(uint64_t number) { at_ = std::to_chars(at_, at_ + 20, number).ptr; }

  void Base64(std::span<const unsigned char> bytes) {
    const auto* data = bytes.data();
    size_t left = bytes.size();
    for (; left >= 3; data += 3, left -= 3) {
      // Headers are zeros, most of them.
      for (; left >= 24 && IsZero24(data); data += 24, left -= 24) {
        std::memset(at_, 'A', 32);
        at_ += 32;
      }
      if (left < 3) break;
      Pair(static_cast<size_t>(data[0]) << 4 | data[1] >> 4);
      Pair(static_cast<size_t>(data[1] & 0xf) << 8 | data[2]);
    }
    if (left == 0) return;
    const size_t second = left > 1 ? data[1] : 0;
    Pair(static_cast<size_t>(data[0]) << 4 | second >> 4);
    *at_++ = left > 1 ? kAlphabet[(second & 0xf) << 2] : '=';
    *at_++ = '=';
  }

 private:
  static bool IsZero24(const unsigned char* data) {
    std::array<uint64_t, 3> words{};
    std::memcpy(words.data(), data, sizeof words);
    return (words[0] | words[1] | words[2]) == 0;
  }

  void Pair(size_t bits) {
    std::memcpy(at_, kPairs[bits].data(), 2);
    at_ += 2;
  }

  char* start_;
  char* at_;
};

constexpr std::string_view kSegment = R"({"type":2,"payload":")";
constexpr std::string_view kFile = R"({"type":1,"name":")";
constexpr std::string_view kSize = R"(","size":)";
constexpr std::string_view kSized = R"(,"payload":")";
constexpr std::string_view kUnsized = R"(","payload":null)";
constexpr std::string_view kQuote = R"(")";
constexpr std::string_view kPosition = R"(,"position":)";
constexpr std::string_view kEnd = "}\n";
// All that a member's two lines have but its names and bytes: the fixed parts and three numbers.
constexpr size_t kFixedBound = 200;

void WriteFile(const SplitRun& run, const PlainMember& member, Writer& out) {
  out.Text(kFile);
  out.Text(run.names.substr(member.name_start, member.name_length));
  if (member.size == 0) {
    out.Text(kUnsized);
    return;
  }
  out.Text(kSize);
  out.Number(member.size);
  out.Text(kSized);
  const uint64_t crc = UpdateCrc64(0, &run.chunk[member.body_start], member.size);
  std::array<unsigned char, 8> bytes{};
  for (size_t i = 0; i < 8; i++) bytes[i] = static_cast<unsigned char>(crc >> (56 - 8 * i));
  out.Base64(bytes);
  out.Text(kQuote);
}

}  // namespace

bool IsSound(const SplitRun& run) {
  size_t end = run.previous_end;
  for (const auto& member : run.members) {
    if (member.body_start < end || member.body_start > run.chunk.size() ||
        member.size > run.chunk.size() - member.body_start ||
        member.name_start > run.names.size() ||
        member.name_length > run.names.size() - member.name_start)
      return false;
    end = member.body_start + member.size;
  }
  return true;
}

size_t SplitLinesBound(const SplitRun& run) {
  size_t bound = 0;
  size_t end = run.previous_end;
  for (const auto& member : run.members) {
    bound += kFixedBound + member.name_length + (member.body_start - end + 2) / 3 * 4;
    end = member.body_start + member.size;
  }
  return bound;
}

size_t WriteSplitLines(const SplitRun& run, char* out) {
  Writer writer(out);
  size_t end = run.previous_end;
  uint64_t position = run.position;
  const auto close = [&] {
    writer.Text(kPosition);
    writer.Number(position++);
    writer.Text(kEnd);
  };
  for (const auto& member : run.members) {
    writer.Text(kSegment);
    writer.Base64(run.chunk.subspan(end, member.body_start - end));
    writer.Text(kQuote);
    close();
    WriteFile(run, member, writer);
    close();
    end = member.body_start + member.size;
  }
  return writer.size();
}

}  // namespace overlaid
