// A decompressor or compressor that is given its input and its room for output piece by piece.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace overlaid {

// What one call did. `problem` is set for good: the data is not what it should be.
struct CodecStep {
  size_t consumed = 0;
  size_t produced = 0;
  // Decompressors: the input so far may end here. Compressors: all is written that there is to be.
  bool ended = false;
  const char* problem = nullptr;
};

class Codec {
 public:
  Codec() = default;
  Codec(const Codec&) = delete;
  Codec& operator=(const Codec&) = delete;
  virtual ~Codec() = default;

  // Takes of `input` and fills `output` until one of them is used up. With `last` no input comes
  // after this one.
  virtual CodecStep Run(std::span<const uint8_t> input, std::span<uint8_t> output, bool last) = 0;

  // One call at a time.
  std::atomic<bool> busy = false;
};

// Each is empty where memory is short or the level is none.
#ifdef OVERLAID_CODECS
std::unique_ptr<Codec> MakeGunzip();
std::unique_ptr<Codec> MakeGzip(int level);
std::unique_ptr<Codec> MakeUnzstd();
std::unique_ptr<Codec> MakeZstd(int level, int threads);
#endif

}  // namespace overlaid
