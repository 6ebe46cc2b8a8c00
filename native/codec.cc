// Compression on the pool: `openCodec` makes one, `runCodec` lets it work on memory of the
// caller's. What the streams mean (members, frames, padding) is decided in lib/transfer, but for
// gzip's members, which only the decompressor can tell apart.
#include "codec.h"

#include <memory>
#include <string>

#include "args.h"
#include "job.h"
#include "register.h"

namespace overlaid {

Napi::Value ToJs(Napi::Env env, const CodecStep& step) {
  auto object = Napi::Object::New(env);
  object.Set("consumed", Napi::Number::New(env, static_cast<double>(step.consumed)));
  object.Set("produced", Napi::Number::New(env, static_cast<double>(step.produced)));
  object.Set("ended", Napi::Boolean::New(env, step.ended));
  if (step.problem != nullptr) object.Set("problem", Napi::String::New(env, step.problem));
  return object;
}

namespace {

#ifdef OVERLAID_CODECS
constexpr bool kBuiltIn = true;

std::unique_ptr<Codec> Make(const std::string& kind, int level, int threads) {
  if (kind == "gunzip") return MakeGunzip();
  if (kind == "gzip") return MakeGzip(level);
  if (kind == "unzstd") return MakeUnzstd();
  if (kind == "zstd") return MakeZstd(level, threads);
  return nullptr;
}
#else
constexpr bool kBuiltIn = false;

std::unique_ptr<Codec> Make(const std::string&, int, int) { return nullptr; }
#endif

using Handle = Napi::External<Codec>;

// So that no other addon's External is taken for one of ours.
constexpr napi_type_tag kTag = {0x6f7665726c616964, 0x636f646563000001};

Napi::Value HasCodecs(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), kBuiltIn);
}

Napi::Value OpenCodec(const Napi::CallbackInfo& info) {
  Args args(info);
  const auto kind = args.Text("kind");
  const int level = args.Integer<int>("level");
  const int threads = args.Integer<int>("threads");
  if (args.Failed()) return args.Throw();
  auto codec = Make(kind, level, threads);
  if (codec == nullptr) {
    args.Fail("kind", "a codec of this build, with a level that it has");
    return args.Throw();
  }
  auto handle =
      Handle::New(info.Env(), codec.release(), [](Napi::Env, Codec* made) { delete made; });
  handle.TypeTag(&kTag);
  return handle;
}

Napi::Value RunCodec(const Napi::CallbackInfo& info) {
  Args args(info);
  const auto handle = args.Next();
  const auto input = args.Next();
  const auto output = args.Next();
  const auto last = args.Next();
  const auto in = args.View(input, "input");
  const auto out = args.View(output, "output");
  if (!handle.IsExternal() || !handle.As<Handle>().CheckTypeTag(&kTag)) {
    args.Fail("codec", "from openCodec");
  }
  if (!last.IsBoolean()) args.Fail("last", "a boolean");
  if (args.Failed()) return args.Throw();
  auto* codec = handle.As<Handle>().Data();
  if (codec->busy.exchange(true)) {
    args.Fail("codec", "idle");
    return args.Throw();
  }
  // JavaScript leaves these alone until the promise is settled.
  auto keep = Napi::Array::New(info.Env(), 3);
  keep.Set(0U, handle);
  keep.Set(1U, input);
  keep.Set(2U, output);
  return RunJob(
      info.Env(), "runCodec",
      [codec, in, out, isLast = last.As<Napi::Boolean>().Value()]() -> Result<CodecStep> {
        const std::span<const uint8_t> from(reinterpret_cast<const uint8_t*>(in.first), in.second);
        const std::span<uint8_t> into(reinterpret_cast<uint8_t*>(out.first), out.second);
        const auto step = codec->Run(from, into, isLast);
        codec->busy = false;
        return step;
      },
      keep);
}

}  // namespace

void RegisterCodec(Napi::Object exports) {
  Export(exports, "hasCodecs", HasCodecs);
  Export(exports, "openCodec", OpenCodec);
  Export(exports, "runCodec", RunCodec);
}

}  // namespace overlaid
