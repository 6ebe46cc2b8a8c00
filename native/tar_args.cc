// tarRun and tarSplitLines: plain members of a tar, read and recorded many at a time.
#include "args.h"
#include "job.h"
#include "register.h"
#include "tar_run.h"
#include "tar_split.h"

namespace overlaid {
namespace {

constexpr size_t kWords = sizeof(PlainMember) / sizeof(uint32_t);

std::span<PlainMember> MembersOf(Args& args) {
  const auto value = args.Next();
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint32_array) {
    args.Fail("members", "a Uint32Array");
    return {};
  }
  auto words = value.As<Napi::Uint32Array>();
  return {reinterpret_cast<PlainMember*>(words.Data()), words.ElementLength() / kWords};
}

std::span<const unsigned char> BytesOf(std::pair<char*, size_t> view) {
  return {reinterpret_cast<const unsigned char*>(view.first), view.second};
}

// Gives [members, bytes of names, where it ended].
Napi::Value TarRun(const Napi::CallbackInfo& info) {
  Args args(info);
  const auto chunk = BytesOf(args.View("chunk"));
  const auto at = args.Integer<uint32_t>("at");
  const auto members = MembersOf(args);
  const auto names = args.View("names");
  if (at > chunk.size()) args.Fail("at", "inside the chunk");
  if (args.Failed()) return args.Throw();
  const auto run = ReadPlainRun(chunk, at, members, {names.first, names.second});
  auto result = Napi::Array::New(info.Env(), 3);
  result.Set(0U, Napi::Number::New(info.Env(), static_cast<double>(run.members)));
  result.Set(1U, Napi::Number::New(info.Env(), static_cast<double>(run.names)));
  result.Set(2U, Napi::Number::New(info.Env(), static_cast<double>(run.end)));
  return result;
}

// How many bytes of lines there are, written on a thread of the pool. Members and names are copied,
// the chunk is read in place.
Napi::Value TarSplitLines(const Napi::CallbackInfo& info) {
  Args args(info);
  const auto chunk = args.Next();
  const auto bytes = BytesOf(args.View(chunk, "chunk"));
  const auto members = MembersOf(args);
  auto names = args.Bytes("names");
  const auto previous_end = args.Integer<uint32_t>("previousEnd");
  const auto position = args.Integer<int64_t>("position");
  const auto out_value = args.Next();
  const auto out = args.View(out_value, "out");
  auto keep = Napi::Array::New(info.Env(), 2);
  if (!keep.Set(0U, chunk) || !keep.Set(1U, out_value)) args.Fail("chunk and out", "kept");
  if (args.Failed()) return args.Throw();
  std::vector<PlainMember> copy(members.begin(), members.end());
  return RunJob(
      info.Env(), "tarSplitLines",
      [bytes, copy = std::move(copy), names = std::move(names), previous_end, position,
       out]() -> Result<ByteCount> {
        const SplitRun run{.chunk = bytes,
                           .members = copy,
                           .names = names,
                           .previous_end = previous_end,
                           .position = static_cast<uint64_t>(position)};
        if (!IsSound(run) || SplitLinesBound(run) > out.second)
          return SysError{.code = EINVAL, .syscall = "tarSplitLines"};
        return ByteCount{WriteSplitLines(run, out.first)};
      },
      keep);
}

}  // namespace

void RegisterTar(Napi::Object exports) {
  Export(exports, "tarRun", TarRun);
  Export(exports, "tarSplitLines", TarSplitLines);
}

}  // namespace overlaid
