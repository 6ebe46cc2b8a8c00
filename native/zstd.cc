// zstd by libzstd. lib/transfer looks at the frames' headers first: what comes here has no
// dictionary and no window beyond the limit, which is set here once more.
#include <zstd.h>

#include <new>

#include "codec.h"

namespace overlaid {
namespace {

// 128 MiB, as the zstd command has it.
constexpr int kMaxWindowLog = 27;

class Unzstd final : public Codec {
 public:
  Unzstd() : stream_(ZSTD_createDStream()) {
    if (stream_ != nullptr) {
      ready_ =
          ZSTD_isError(ZSTD_DCtx_setParameter(stream_, ZSTD_d_windowLogMax, kMaxWindowLog)) == 0;
    }
  }
  ~Unzstd() override { ZSTD_freeDStream(stream_); }

  bool Ready() const { return ready_; }

  CodecStep Run(std::span<const uint8_t> input, std::span<uint8_t> output, bool last) override {
    ZSTD_inBuffer in = {input.data(), input.size(), 0};
    ZSTD_outBuffer out = {output.data(), output.size(), 0};
    CodecStep step;
    while (out.pos < out.size) {
      const size_t before = in.pos + out.pos;
      // At the end of a frame it gives 0, and would begin another one with nothing.
      if (left_ == 0 && in.pos == in.size) break;
      left_ = ZSTD_decompressStream(stream_, &out, &in);
      if (ZSTD_isError(left_) != 0) {
        step.problem = ZSTD_getErrorName(left_);
        break;
      }
      if (in.pos + out.pos == before) break;
    }
    step.consumed = in.pos;
    step.produced = out.pos;
    step.ended = left_ == 0;
    if (step.problem == nullptr && last && !step.ended && out.pos < out.size) {
      step.problem = "the zstd stream is cut off";
    }
    return step;
  }

 private:
  ZSTD_DStream* stream_;
  bool ready_ = false;
  size_t left_ = 0;
};

class Zstd final : public Codec {
 public:
  Zstd(int level, int threads) : stream_(ZSTD_createCStream()) {
    if (stream_ == nullptr) return;
    ready_ = Set(ZSTD_c_compressionLevel, level) && Set(ZSTD_c_checksumFlag, 1) &&
             Set(ZSTD_c_nbWorkers, threads);
  }
  ~Zstd() override { ZSTD_freeCStream(stream_); }

  bool Ready() const { return ready_; }

  CodecStep Run(std::span<const uint8_t> input, std::span<uint8_t> output, bool last) override {
    ZSTD_inBuffer in = {input.data(), input.size(), 0};
    ZSTD_outBuffer out = {output.data(), output.size(), 0};
    CodecStep step;
    for (;;) {
      const size_t left =
          ZSTD_compressStream2(stream_, &out, &in, last ? ZSTD_e_end : ZSTD_e_continue);
      if (ZSTD_isError(left) != 0) {
        step.problem = ZSTD_getErrorName(left);
        break;
      }
      step.ended = last && left == 0;
      // With threads it comes back before all is taken.
      if (step.ended || out.pos == out.size || (!last && in.pos == in.size)) break;
    }
    step.consumed = in.pos;
    step.produced = out.pos;
    return step;
  }

 private:
  bool Set(ZSTD_cParameter parameter, int value) {
    return ZSTD_isError(ZSTD_CCtx_setParameter(stream_, parameter, value)) == 0;
  }

  ZSTD_CStream* stream_;
  bool ready_ = false;
};

template <typename T, typename... Values>
std::unique_ptr<Codec> MakeReady(Values... values) {
  std::unique_ptr<T> made(new (std::nothrow) T(values...));
  return made != nullptr && made->Ready() ? std::move(made) : nullptr;
}

}  // namespace

std::unique_ptr<Codec> MakeUnzstd() { return MakeReady<Unzstd>(); }

std::unique_ptr<Codec> MakeZstd(int level, int threads) {
  if (level < 1 || level > ZSTD_maxCLevel() || threads < 1) return nullptr;
  return MakeReady<Zstd>(level, threads);
}

}  // namespace overlaid
