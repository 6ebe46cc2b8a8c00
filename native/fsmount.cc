// The mount API of Linux 5.2: fsopen, fsconfig, fsmount, move_mount, open_tree, and mount_setattr
// of 5.12.
#include <fcntl.h>

#include <array>

#include "args.h"
#include "fsconfig.h"
#include "job.h"
#include "register.h"

namespace overlaid {
// What the file system had to say about a failure: one message a read, until ENODATA
// (Documentation/filesystems/mount_api.rst; a ring of 8). Reading takes them away.
std::vector<std::string> ContextLog(int fd) {
  const PreserveErrno keep;
  std::vector<std::string> lines;
  std::array<char, 4096> line{};
  constexpr int kRing = 8;
  for (int i = 0; i < kRing; i++) {
    const auto length = read(fd, line.data(), line.size());
    if (length <= 0) break;
    std::string text(line.data(), static_cast<size_t>(length));
    while (!text.empty() && text.back() == '\n') text.pop_back();
    lines.push_back(std::move(text));
  }
  return lines;
}

Status Fsconfig(const ConfigCall& call) {
  if (syscall(sys::kFsconfig, call.fd, call.command, call.key, call.value, call.aux) == 0) {
    return Done{};
  }
  SysError error{.code = errno, .syscall = "fsconfig"};
  error.detail = ContextLog(call.fd);
  if (call.key != nullptr) error.path = call.key;
  if (call.value != nullptr) error.dest = call.value;
  return error;
}

namespace {

Napi::Value Fsopen(const Napi::CallbackInfo& info) {
  Args args(info);
  auto type = args.Text("type");
  const auto flags = args.Integer<uint32_t>("flags");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "fsopen", [type = std::move(type), flags]() -> Result<Fd> {
    Fd fd(static_cast<int>(syscall(sys::kFsopen, type.c_str(), flags)));
    if (fd) return fd;
    return SysError{.code = errno, .syscall = "fsopen", .path = type, .flags = flags};
  });
}

Napi::Value FsconfigSetFlag(const Napi::CallbackInfo& info) {
  Args args(info);
  const int fd = args.FdNumber("fd");
  auto key = args.Path("key");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "fsconfig", [fd, key = std::move(key)] {
    return Fsconfig({fd, sys::kFsconfigSetFlag, key.c_str(), nullptr, 0});
  });
}

Napi::Value FsconfigSetString(const Napi::CallbackInfo& info) {
  Args args(info);
  const int fd = args.FdNumber("fd");
  auto key = args.Path("key");
  auto value = args.Path("value");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "fsconfig", [fd, key = std::move(key), value = std::move(value)] {
    return Fsconfig({fd, sys::kFsconfigSetString, key.c_str(), value.c_str(), 0});
  });
}

Napi::Value FsconfigSetFd(const Napi::CallbackInfo& info) {
  Args args(info);
  const int fd = args.FdNumber("fd");
  auto key = args.Path("key");
  const int aux = args.FdNumber("aux");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "fsconfig", [fd, key = std::move(key), aux] {
    return Fsconfig({fd, sys::kFsconfigSetFd, key.c_str(), nullptr, aux});
  });
}

Napi::Value FsconfigCreate(const Napi::CallbackInfo& info) {
  Args args(info);
  const int fd = args.FdNumber("fd");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "fsconfig", [fd] {
    return Fsconfig({fd, sys::kFsconfigCmdCreate, nullptr, nullptr, 0});
  });
}

Napi::Value Fsmount(const Napi::CallbackInfo& info) {
  Args args(info);
  const int context = args.FdNumber("fd");
  const auto flags = args.Integer<uint32_t>("flags");
  const auto attributes = args.Integer<uint32_t>("attributes");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "fsmount", [context, flags, attributes]() -> Result<Fd> {
    Fd fd(static_cast<int>(syscall(sys::kFsmount, context, flags, attributes)));
    if (fd) return fd;
    SysError error{.code = errno, .syscall = "fsmount", .flags = attributes};
    error.detail = ContextLog(context);
    return error;
  });
}

struct Move {
  int from_fd;
  std::string from;
  int to_fd;
  std::string to;
  uint32_t flags;
};

Status MoveTree(const Move& move) {
  if (syscall(sys::kMoveMount, move.from_fd, move.from.c_str(), move.to_fd, move.to.c_str(),
              move.flags) == 0) {
    return Done{};
  }
  return SysError{.code = errno,
                  .syscall = "move_mount",
                  .path = move.from,
                  .dest = move.to,
                  .flags = move.flags};
}

Napi::Value MoveMount(const Napi::CallbackInfo& info) {
  Args args(info);
  Move move;
  move.from_fd = args.FdNumber("fromDirfd");
  move.from = args.Path("from");
  move.to_fd = args.FdNumber("toDirfd");
  move.to = args.Path("to");
  move.flags = args.Integer<uint32_t>("flags");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "move_mount", [move = std::move(move)] { return MoveTree(move); });
}

Napi::Value MoveMountNow(const Napi::CallbackInfo& info) {
  Args args(info);
  Move move{.from_fd = args.FdNumber("fd"),
            .from = "",
            .to_fd = AT_FDCWD,
            .to = args.Path("to"),
            .flags = sys::kMoveMountFEmptyPath};
  if (args.Failed()) return args.Throw();
  return RunNow(info.Env(), [&] { return MoveTree(move); });
}

Napi::Value OpenTree(const Napi::CallbackInfo& info) {
  Args args(info);
  const int dirfd = args.FdNumber("dirfd");
  auto path = args.Path("path");
  const auto flags = args.Integer<uint32_t>("flags");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "open_tree", [=]() -> Result<Fd> {
    // OPEN_TREE_CLOEXEC is O_CLOEXEC.
    Fd fd(static_cast<int>(syscall(sys::kOpenTree, dirfd, path.c_str(), flags | O_CLOEXEC)));
    if (fd) return fd;
    return SysError{.code = errno, .syscall = "open_tree", .path = path, .flags = flags};
  });
}

sys::MountAttr ReadMountAttr(Args& args) {
  auto object = args.Object("attr");
  const auto field = [&](const char* name) -> uint64_t {
    return args.Optional<uint64_t>(object, name).value_or(0);
  };
  return {.attr_set = field("set"),
          .attr_clr = field("clear"),
          .propagation = field("propagation"),
          .userns_fd = field("usernsFd")};
}

Napi::Value MountSetattr(const Napi::CallbackInfo& info) {
  Args args(info);
  const int dirfd = args.FdNumber("dirfd");
  auto path = args.Path("path");
  const auto flags = args.Integer<uint32_t>("flags");
  const auto attr = ReadMountAttr(args);
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "mount_setattr", [=]() -> Status {
    if (syscall(sys::kMountSetattr, dirfd, path.c_str(), flags, &attr, sizeof attr) == 0) {
      return Done{};
    }
    return SysError{
        .code = errno, .syscall = "mount_setattr", .path = path, .flags = attr.attr_set};
  });
}

}  // namespace

void RegisterFsmount(Napi::Object exports) {
  Export(exports, "fsopen", Fsopen);
  Export(exports, "fsconfigSetFlag", FsconfigSetFlag);
  Export(exports, "fsconfigSetString", FsconfigSetString);
  Export(exports, "fsconfigSetFd", FsconfigSetFd);
  Export(exports, "fsconfigCreate", FsconfigCreate);
  Export(exports, "fsmount", Fsmount);
  Export(exports, "moveMount", MoveMount);
  Export(exports, "moveMountNow", MoveMountNow);
  Export(exports, "openTree", OpenTree);
  Export(exports, "mountSetattr", MountSetattr);
}

}  // namespace overlaid
