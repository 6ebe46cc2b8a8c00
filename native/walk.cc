// Walking a tree from JavaScript: walkStart, walkNext, walkEnd. The walk itself is in tree_walk.h.
#include <memory>
#include <mutex>

#include "args.h"
#include "job.h"
#include "register.h"
#include "tree_walk.h"

namespace overlaid {

// Takes what it is given: the records become a Buffer without a copy, the descriptors JavaScript's.
static Napi::Value ToJs(Napi::Env env, std::optional<WalkBatch>& batch) {
  if (!batch) return env.Undefined();
  auto* records = new std::string(std::move(batch->records));
  auto buffer = Napi::Buffer<char>::NewOrCopy(
      env, records->data(), records->size(),
      [](Napi::Env /*env*/, char* /*data*/, std::string* hint) { delete hint; }, records);
  // In a worker thread that is being terminated nobody gets them: the batch closes its files.
  if (buffer.IsEmpty()) return env.Undefined();
  for (auto& file : batch->files) file.Release();
  return buffer;
}

namespace {

constexpr napi_type_tag kWalkTag = {0x6f7665726c616964, 0x747265655f77616c};

// Held by JavaScript's handle and by each call that is under way: walkEnd lets go of the first.
struct Walk {
  explicit Walk(const WalkOptions& options) : tree(options) {}
  // Two calls at once take turns.
  std::mutex mutex;
  TreeWalk tree;
};
using Handle = std::shared_ptr<Walk>;

Napi::Value WalkStart(const Napi::CallbackInfo& info) {
  Args args(info);
  WalkOptions options;
  options.root_fd = args.FdNumber("rootFd");
  const auto given = args.Object("options");
  options.xattrs = args.Flag(given, "xattrs");
  options.bodies = args.Optional<uint32_t>(given, "bodies");
  options.beside_fd = args.Optional<int>(given, "besideFd").value_or(-1);
  if (args.Failed()) return args.Throw();
  auto handle = Napi::External<Handle>::New(info.Env(), new Handle(std::make_shared<Walk>(options)),
                                            [](Napi::Env /*env*/, Handle* walk) { delete walk; });
  if (!handle.IsEmpty()) handle.TypeTag(&kWalkTag);
  return handle;
}

// Null, and the reason remembered, for anything that WalkStart did not make.
Handle* HandleOf(Args& args) {
  const auto value = args.Next();
  if (value.IsExternal()) {
    const auto handle = value.As<Napi::External<Handle>>();
    if (handle.CheckTypeTag(&kWalkTag)) return handle.Data();
  }
  args.Fail("walk", "what walkStart gave");
  return nullptr;
}

Napi::Value WalkNext(const Napi::CallbackInfo& info) {
  Args args(info);
  const Handle* handle = HandleOf(args);
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "walk", [walk = *handle]() -> Result<std::optional<WalkBatch>> {
    if (!walk) return std::optional<WalkBatch>();
    const std::lock_guard lock(walk->mutex);
    return walk->tree.Next();
  });
}

Napi::Value WalkEnd(const Napi::CallbackInfo& info) {
  Args args(info);
  Handle* handle = HandleOf(args);
  if (args.Failed()) return args.Throw();
  handle->reset();
  return info.Env().Undefined();
}

}  // namespace

void RegisterWalk(Napi::Object exports) {
  Export(exports, "walkStart", WalkStart);
  Export(exports, "walkNext", WalkNext);
  Export(exports, "walkEnd", WalkEnd);
}

}  // namespace overlaid
