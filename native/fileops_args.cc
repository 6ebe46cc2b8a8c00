// Reads fileops' list from JavaScript.
#include <array>
#include <string_view>

#include "args.h"
#include "fileops.h"
#include "job.h"
#include "register.h"

namespace overlaid {
namespace {

using Kind = FileOp::Kind;

struct NamedKind {
  std::string_view name;
  Kind kind;
};
constexpr std::array kKinds{
    NamedKind{"file", Kind::kFile},       NamedKind{"dir", Kind::kDir},
    NamedKind{"symlink", Kind::kSymlink}, NamedKind{"node", Kind::kNode},
    NamedKind{"link", Kind::kLink},       NamedKind{"meta", Kind::kMeta},
    NamedKind{"remove", Kind::kRemove},   NamedKind{"rename", Kind::kRename},
    NamedKind{"create", Kind::kCreate},   NamedKind{"write", Kind::kWrite}};

class OpReader {
 public:
  // `keep` collects the data buffers, so that they live until the work is done.
  OpReader(Args& args, Napi::Array keep) : args_(args), keep_(keep) {}

  FileOp Read(Napi::Value value) {
    auto object = args_.ObjectOf(value, "op");
    FileOp op;
    op.kind = ReadKind(object);
    op.path = args_.PathOf(args_.Member(object, "path"), "path");
    switch (op.kind) {
      case Kind::kFile:
      case Kind::kWrite:
        ReadData(args_.Member(object, "data"), op);
        break;
      case Kind::kSymlink:
      case Kind::kLink:
        op.target = args_.PathOf(args_.Member(object, "target"), "target");
        break;
      case Kind::kRename:
        op.target = args_.PathOf(args_.Member(object, "dest"), "dest");
        break;
      case Kind::kNode:
        op.major_number = args_.IntegerOf<uint32_t>(args_.Member(object, "major"), "major");
        op.minor_number = args_.IntegerOf<uint32_t>(args_.Member(object, "minor"), "minor");
        break;
      default:
        break;
    }
    ReadOptions(object, op);
    ReadMetadata(object, op.metadata);
    return op;
  }

 private:
  Kind ReadKind(Napi::Object object) {
    const auto value = args_.Member(object, "op");
    const std::string name = value.IsString() ? value.As<Napi::String>().Utf8Value() : "";
    for (const auto& known : kKinds) {
      if (known.name == name) return known.kind;
    }
    args_.Fail("op", "an operation's name");
    return Kind::kMeta;
  }

  void ReadData(Napi::Value value, FileOp& op) {
    auto list = args_.ArrayOf(value, "data");
    for (uint32_t i = 0; i < list.Length(); i++) {
      const auto chunk = args_.Element(list, i, "data");
      const auto [bytes, size] = args_.View(chunk, "data");
      if (size == 0) continue;
      op.data.push_back({.iov_base = bytes, .iov_len = size});
      if (!keep_.Set(keep_.Length(), chunk)) args_.Fail("data", "kept");
    }
  }

  void ReadOptions(Napi::Object object, FileOp& op) {
    op.recursive = args_.Flag(object, "recursive");
    op.missing_ok = args_.Flag(object, "missingOk");
    const char* name = op.kind == Kind::kWrite ? "offset" : "size";
    op.offset = args_.Optional<int64_t>(object, name).value_or(0);
    if (op.offset < 0) args_.Fail(name, "an integer in range");
  }

  void ReadMetadata(Napi::Object object, Metadata& metadata) {
    metadata.mode = args_.Optional<uint32_t>(object, "mode");
    metadata.uid = args_.Optional<uint32_t>(object, "uid");
    metadata.gid = args_.Optional<uint32_t>(object, "gid");
    if (const auto seconds = args_.Optional<int64_t>(object, "mtimeSec")) {
      const auto nanoseconds = args_.Optional<uint32_t>(object, "mtimeNsec").value_or(0);
      metadata.mtime = timespec{.tv_sec = static_cast<time_t>(*seconds),
                                .tv_nsec = static_cast<long>(nanoseconds)};
    }
    const auto value = args_.Member(object, "xattrs");
    if (value.IsUndefined()) return;
    auto list = args_.ArrayOf(value, "xattrs");
    for (uint32_t i = 0; i < list.Length(); i++) {
      auto xattr = args_.ObjectOf(args_.Element(list, i, "xattrs"), "xattr");
      metadata.xattrs.emplace_back(args_.PathOf(args_.Member(xattr, "name"), "name"),
                                   args_.BytesOf(args_.Member(xattr, "value"), "value"));
    }
  }

  Args& args_;
  Napi::Array keep_;
};

Napi::Value Fileops(const Napi::CallbackInfo& info) {
  Args args(info);
  const int root_fd = args.FdNumber("rootFd");
  auto list = args.ArrayOf(args.Next(), "ops");
  auto keep = Napi::Array::New(info.Env());
  OpReader reader(args, keep);
  std::vector<FileOp> ops;
  ops.reserve(list.Length());
  for (uint32_t i = 0; i < list.Length() && !args.Failed(); i++)
    ops.push_back(reader.Read(args.Element(list, i, "ops")));
  if (args.Failed()) return args.Throw();
  return RunJob(
      info.Env(), "fileops",
      [root_fd, ops = std::move(ops)]() mutable { return RunFileOps(root_fd, ops); }, keep);
}

}  // namespace

void RegisterFileops(Napi::Object exports) { Export(exports, "fileops", Fileops); }

}  // namespace overlaid
