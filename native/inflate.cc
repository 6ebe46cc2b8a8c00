// gzip by ISA-L. Reading follows what zlib and node:zlib do: one member after another, and zeros
// after the last one, as tapes leave them. Anything else at the end is an error.
#include <igzip_lib.h>

#include <algorithm>
#include <array>
#include <limits>
#include <new>
#include <vector>

#include "codec.h"

namespace overlaid {
namespace {

// ISA-L counts in 32 bits.
uint32_t Clamp(size_t size) {
  return static_cast<uint32_t>(std::min<size_t>(size, std::numeric_limits<uint32_t>::max()));
}

// In zlib's words, so that a message does not depend on what reads.
const char* Problem(int code) {
  switch (code) {
    case ISAL_INVALID_BLOCK:
      return "invalid block";
    case ISAL_INVALID_SYMBOL:
      return "invalid code";
    case ISAL_INVALID_LOOKBACK:
      return "invalid distance too far back";
    case ISAL_INVALID_WRAPPER:
      return "incorrect header check";
    case ISAL_UNSUPPORTED_METHOD:
      return "unknown compression method";
    case ISAL_INCORRECT_CHECKSUM:
      return "incorrect data check";
    default:
      return "invalid gzip data";
  }
}

constexpr uint32_t kFlagsOffset = 3;
constexpr uint8_t kReservedFlags = 0xe0;

class Gunzip final : public Codec {
 public:
  Gunzip() { Reset(); }

  CodecStep Run(std::span<const uint8_t> input, std::span<uint8_t> output, bool last) override {
    CodecStep step;
    while (step.problem == nullptr) {
      const auto rest = input.subspan(step.consumed);
      if (place_ == Place::kMember) {
        const bool stuck = Inflate(rest, output.subspan(step.produced), step);
        if (place_ == Place::kMember && stuck) break;
      } else if (rest.empty()) {
        break;
      } else {
        Between(rest, step);
      }
    }
    step.ended = place_ != Place::kMember;
    const bool starved = step.consumed == input.size() && step.produced < output.size();
    if (step.problem == nullptr && last && starved && !step.ended) {
      step.problem = "unexpected end of file";
    }
    return step;
  }

 private:
  enum class Place { kMember, kBetween, kPadding };

  void Reset() {
    isal_inflate_init(&state_);
    state_.crc_flag = ISAL_GZIP;
    seen_ = 0;
    place_ = Place::kMember;
  }

  // Whether it stopped for want of input or of room.
  bool Inflate(std::span<const uint8_t> input, std::span<uint8_t> output, CodecStep& step) {
    // ISA-L passes over flags that it does not know.
    if (seen_ <= kFlagsOffset) {
      const size_t at = kFlagsOffset - seen_;
      if (at < input.size() && (input[at] & kReservedFlags) != 0) {
        step.problem = "unknown header flags set";
        return true;
      }
    }
    // It only reads there.
    state_.next_in = const_cast<uint8_t*>(input.data());
    state_.avail_in = Clamp(input.size());
    state_.next_out = output.data();
    state_.avail_out = Clamp(output.size());
    const uint32_t given = state_.avail_in;
    const uint32_t room = state_.avail_out;
    const int code = isal_inflate(&state_);
    const uint32_t taken = given - state_.avail_in;
    const uint32_t made = room - state_.avail_out;
    seen_ += std::min(taken, kFlagsOffset + 1);
    step.consumed += taken;
    step.produced += made;
    if (code < 0)
      step.problem = Problem(code);
    else if (state_.block_state == ISAL_BLOCK_FINISH)
      place_ = Place::kBetween;
    return code < 0 || (taken == 0 && made == 0);
  }

  // The first byte after a member tells: zero is padding, which goes on to the end, the rest is
  // another member or a wrong one.
  void Between(std::span<const uint8_t> input, CodecStep& step) {
    if (place_ == Place::kBetween && input[0] != 0) {
      Reset();
      return;
    }
    place_ = Place::kPadding;
    const auto end =
        std::find_if(input.begin(), input.end(), [](uint8_t byte) { return byte != 0; });
    step.consumed += static_cast<size_t>(end - input.begin());
    if (end != input.end()) step.problem = "something follows the compressed data";
  }

  inflate_state state_{};
  // Of the member's header, as far as its flags.
  uint32_t seen_ = 0;
  Place place_ = Place::kMember;
};

constexpr std::array<uint32_t, ISAL_DEF_MAX_LEVEL + 1> kLevelBytes = {
    ISAL_DEF_LVL0_DEFAULT, ISAL_DEF_LVL1_DEFAULT, ISAL_DEF_LVL2_DEFAULT, ISAL_DEF_LVL3_DEFAULT};

class Gzip final : public Codec {
 public:
  explicit Gzip(int level) : memory_(kLevelBytes.at(static_cast<size_t>(level))) {
    isal_deflate_init(&stream_);
    stream_.level = static_cast<uint32_t>(level);
    stream_.level_buf = memory_.data();
    stream_.level_buf_size = static_cast<uint32_t>(memory_.size());
    stream_.gzip_flag = IGZIP_GZIP;
    stream_.flush = NO_FLUSH;
  }

  CodecStep Run(std::span<const uint8_t> input, std::span<uint8_t> output, bool last) override {
    stream_.next_in = const_cast<uint8_t*>(input.data());
    stream_.avail_in = Clamp(input.size());
    stream_.next_out = output.data();
    stream_.avail_out = Clamp(output.size());
    stream_.end_of_stream = last ? 1 : 0;
    const uint32_t given = stream_.avail_in;
    const uint32_t room = stream_.avail_out;
    const int code = isal_deflate(&stream_);
    return {.consumed = given - stream_.avail_in,
            .produced = room - stream_.avail_out,
            .ended = stream_.internal_state.state == ZSTATE_END,
            .problem = code == COMP_OK ? nullptr : "the gzip encoder failed"};
  }

 private:
  isal_zstream stream_{};
  std::vector<uint8_t> memory_;
};

}  // namespace

std::unique_ptr<Codec> MakeGunzip() { return std::unique_ptr<Codec>(new (std::nothrow) Gunzip); }

std::unique_ptr<Codec> MakeGzip(int level) {
  if (level < 1 || level > ISAL_DEF_MAX_LEVEL) return nullptr;
  return std::unique_ptr<Codec>(new (std::nothrow) Gzip(level));
}

}  // namespace overlaid
