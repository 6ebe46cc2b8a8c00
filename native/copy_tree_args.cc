// Copying a tree from JavaScript: copyTree, and what cancels it. The copy itself is in copy_tree.h.
#include <memory>

#include "args.h"
#include "copy_tree.h"
#include "job.h"
#include "register.h"

namespace overlaid {
namespace {

constexpr napi_type_tag kCancellationTag = {0x6f7665726c616964, 0x63616e63656c6c65};

// Held by JavaScript's handle and by the copy that looks at it.
using Cancellation = std::shared_ptr<std::atomic<bool>>;

Napi::Value NewCancellation(const Napi::CallbackInfo& info) {
  auto handle = Napi::External<Cancellation>::New(
      info.Env(), new Cancellation(std::make_shared<std::atomic<bool>>(false)),
      [](Napi::Env /*env*/, Cancellation* cancellation) { delete cancellation; });
  if (!handle.IsEmpty()) handle.TypeTag(&kCancellationTag);
  return handle;
}

// Null, and the reason remembered, for anything that NewCancellation did not make.
Cancellation CancellationOf(Args& args) {
  const auto value = args.Next();
  if (value.IsExternal()) {
    const auto handle = value.As<Napi::External<Cancellation>>();
    if (handle.CheckTypeTag(&kCancellationTag)) return *handle.Data();
  }
  args.Fail("cancellation", "what newCancellation gave");
  return nullptr;
}

Napi::Value Cancel(const Napi::CallbackInfo& info) {
  Args args(info);
  const auto cancellation = CancellationOf(args);
  if (args.Failed()) return args.Throw();
  *cancellation = true;
  return info.Env().Undefined();
}

std::vector<std::string> PathsOf(Args& args, Napi::Value value, const char* name) {
  std::vector<std::string> paths;
  const auto list = args.ArrayOf(value, name);
  for (uint32_t i = 0; i < list.Length() && !args.Failed(); i++) {
    paths.push_back(args.PathOf(args.Element(list, i, name), name));
  }
  return paths;
}

Napi::Value CopyTreeOf(const Napi::CallbackInfo& info) {
  Args args(info);
  CopyRequest request;
  request.from_fd = args.FdNumber("fromFd");
  request.to_fd = args.FdNumber("toFd");
  const auto options = args.Object("options");
  request.left_out = PathsOf(args, args.Member(options, "leftOut"), "leftOut");
  const auto only = args.Member(options, "only");
  if (!only.IsUndefined()) request.only = PathsOf(args, only, "only");
  auto cancellation = CancellationOf(args);
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "copyTree",
                [request = std::move(request), cancellation = std::move(cancellation)] {
                  return CopyTree(request, *cancellation);
                });
}

}  // namespace

void RegisterCopyTree(Napi::Object exports) {
  Export(exports, "newCancellation", NewCancellation);
  Export(exports, "cancel", Cancel);
  Export(exports, "copyTree", CopyTreeOf);
}

}  // namespace overlaid
