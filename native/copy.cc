// Bytes from one file to another without a way through JavaScript: copyFileRange.
#include "args.h"
#include "copier.h"
#include "job.h"
#include "register.h"

namespace overlaid {

namespace {

Napi::Value CopyFileRange(const Napi::CallbackInfo& info) {
  Args args(info);
  const int in = args.FdNumber("in");
  const int out = args.FdNumber("out");
  const auto count = args.Integer<uint64_t>("count");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "copy_file_range", [=]() -> Result<ByteCount> {
    auto copied = Copier(in, out, true).Copy(count);
    if (!copied) return copied.error();
    return ByteCount{*copied};
  });
}

}  // namespace

void RegisterCopy(Napi::Object exports) { Export(exports, "copyFileRange", CopyFileRange); }

}  // namespace overlaid
