// Takes fileops' arguments from JavaScript, and chooses the thread.
#include <sched.h>
#include <sys/stat.h>

#include "args.h"
#include "fileops.h"
#include "job.h"
#include "register.h"
#include "thread_job.h"

namespace overlaid {
namespace {

// A batch: a copy of its code, since JavaScript may write over its own, and the buffers in place.
struct Work {
  int root_fd = -1;
  std::vector<uint8_t> code;
  std::vector<iovec> buffers;

  Status Run() { return RunFileOps(root_fd, code, buffers); }
};

// From so many new files on, a thread of its own (30 µs) is cheaper than fchmod for each (2 µs).
constexpr size_t kManyFiles = 20;

// How many files it makes; nullopt when the code is none.
std::optional<size_t> CountFiles(const Work& work) {
  OpDecoder decoder(work.code, work.buffers);
  FileOp op;
  size_t files = 0;
  while (decoder.Next(op)) files += op.kind == FileOp::Kind::kFile ? 1 : 0;
  if (decoder.Failed()) return std::nullopt;
  return files;
}

Napi::Value Fileops(const Napi::CallbackInfo& info) {
  Args args(info);
  Work work{.root_fd = args.FdNumber("rootFd"), .code = {}, .buffers = {}};
  const auto code = args.View("code");
  auto list = args.ArrayOf(args.Next(), "buffers");
  auto keep = Napi::Array::New(info.Env());
  for (uint32_t i = 0; i < list.Length() && !args.Failed(); i++) {
    const auto buffer = args.Element(list, i, "buffers");
    const auto [bytes, size] = args.View(buffer, "buffers");
    work.buffers.push_back({.iov_base = bytes, .iov_len = size});
    if (!keep.Set(i, buffer)) args.Fail("buffers", "kept");
  }
  if (args.Failed()) return args.Throw();
  work.code.assign(code.first, code.first + code.second);
  const auto files = CountFiles(work);
  if (!files) args.Fail("code", "what OpWriter wrote");
  if (args.Failed()) return args.Throw();
  if (*files < kManyFiles) {
    return RunJob(
        info.Env(), "fileops", [work = std::move(work)]() mutable { return work.Run(); }, keep);
  }
  return RunJobOnOwnThread(
      info.Env(), "fileops",
      [work = std::move(work)]() mutable {
        // With a mask of its own, files are born with their modes. Where a seccomp filter has it
        // not, their modes are set afterwards.
        if (unshare(CLONE_FS) == 0) umask(0);
        return work.Run();
      },
      keep);
}

}  // namespace

void RegisterFileops(Napi::Object exports) { Export(exports, "fileops", Fileops); }

}  // namespace overlaid
