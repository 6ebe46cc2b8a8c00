// A whole file system context in one call: fsopen, each parameter, CMD_CREATE, fsmount. A chain of
// 500 layers has more than 500 parameters, and a promise each would cost many times what the kernel
// does.
#include <fcntl.h>

#include <algorithm>
#include <cstring>

#include "args.h"
#include "fsconfig.h"
#include "job.h"
#include "mapped_tree.h"
#include "new_mount.h"
#include "register.h"
#include "resolve.h"

namespace overlaid {
namespace {

// One fsconfig call: a flag (neither value nor path), a string, or a directory that is opened for
// it. Or one for each of several strings with the same key.
struct Parameter {
  std::string key;
  std::optional<std::string> value;
  // Each ended by a NUL: an object for each of 128 layers costs JavaScript as much as the kernel.
  std::optional<std::string> values;
  std::optional<std::string> path;
  bool by_name = false;
  // The directory in a detached clone, with the ids that this user namespace maps.
  std::optional<int> userns_fd;
};

// Layers whose ids are mapped, found in a clone of the directory where paths start: one for each
// user namespace and not one for each layer, since closing a clone costs as much as mounting a
// dozen layers (the kernel waits for all CPUs). All stay open until the context is created: a tree
// that nobody holds is no layer.
class MappedLayers {
 public:
  explicit MappedLayers(int cwd) : cwd_(cwd) {}

  Result<int> Open(const std::string& path, int userns_fd) {
    auto tree = CloneFor(userns_fd);
    if (!tree) return tree.error();
    // An absolute name or a link that leads out would be a layer whose ids are not mapped.
    Fd fd(OpenInRoot(*tree, path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0));
    if (!fd && errno == EACCES) {
      // The folders above belong to ids that are not mapped, over which no capability has power.
      auto own = CloneTree(cwd_, path, userns_fd);
      if (!own) return own.error();
      fd = std::move(*own);
    }
    if (!fd) return SysError{.code = errno, .syscall = "openat2", .path = path};
    layers_.push_back(std::move(fd));
    return layers_.back().get();
  }

 private:
  Result<int> CloneFor(int userns_fd) {
    for (const auto& [number, tree] : clones_) {
      if (number == userns_fd) return tree.get();
    }
    auto tree = CloneTree(cwd_, ".", userns_fd);
    if (!tree) return tree.error();
    clones_.emplace_back(userns_fd, std::move(*tree));
    return clones_.back().second.get();
  }

  int cwd_;
  std::vector<std::pair<int, Fd>> clones_;
  std::vector<Fd> layers_;
};

struct Request {
  std::string type;
  // Where the parameters' paths start.
  std::string cwd;
  std::vector<Parameter> parameters;
  uint32_t attributes;
};

Result<Fd> OpenDirectory(int dirfd, const std::string& path) {
  Fd fd(openat(dirfd, path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (fd) return fd;
  return SysError{.code = errno, .syscall = "openat", .path = path};
}

// The kernel looks the directory up during the call, by descriptor or by name.
Status SetDirectory(int context, int cwd, const Parameter& parameter) {
  auto fd = OpenDirectory(cwd, *parameter.path);
  if (!fd) return fd.error();
  if (!parameter.by_name) {
    return Fsconfig({context, sys::kFsconfigSetFd, parameter.key.c_str(), nullptr, fd->get()});
  }
  const auto name = "/proc/self/fd/" + std::to_string(fd->get());
  return Fsconfig({context, sys::kFsconfigSetString, parameter.key.c_str(), name.c_str(), 0});
}

Status SetMapped(int context, const Parameter& parameter, MappedLayers& layers) {
  auto fd = layers.Open(*parameter.path, *parameter.userns_fd);
  if (!fd) return fd.error();
  return Fsconfig({context, sys::kFsconfigSetFd, parameter.key.c_str(), nullptr, *fd});
}

Status SetEach(int context, const std::string& key, const std::string& values) {
  for (size_t at = 0; at < values.size(); at += std::strlen(values.c_str() + at) + 1) {
    auto set = Fsconfig({context, sys::kFsconfigSetString, key.c_str(), values.c_str() + at, 0});
    if (!set) return set;
  }
  return Done{};
}

Status Set(int context, const Fd& cwd, const Parameter& parameter, MappedLayers& mapped) {
  if (parameter.values) return SetEach(context, parameter.key, *parameter.values);
  if (parameter.path) {
    auto set = parameter.userns_fd ? SetMapped(context, parameter, mapped)
                                   : SetDirectory(context, cwd.get(), parameter);
    if (!set && set.error().path == parameter.key) set.error().dest = parameter.path;
    return set;
  }
  const char* value = parameter.value ? parameter.value->c_str() : nullptr;
  const auto command = value == nullptr ? sys::kFsconfigSetFlag : sys::kFsconfigSetString;
  return Fsconfig({context, command, parameter.key.c_str(), value, 0});
}

Status SetAll(int context, const Request& request) {
  Fd cwd;
  const bool has_paths =
      std::any_of(request.parameters.begin(), request.parameters.end(),
                  [](const auto& parameter) { return parameter.path.has_value(); });
  if (has_paths) {
    auto opened = OpenDirectory(AT_FDCWD, request.cwd);
    if (!opened) return opened.error();
    cwd = std::move(*opened);
  }
  MappedLayers mapped(cwd.get());
  for (uint32_t i = 0; i < request.parameters.size(); i++) {
    if (auto set = Set(context, cwd, request.parameters[i], mapped); !set) {
      set.error().index = i;
      return set;
    }
  }
  return Fsconfig({context, sys::kFsconfigCmdCreate, nullptr, nullptr, 0});
}

Result<NewMount> MountConfigured(const Request& request) {
  const Fd context(static_cast<int>(syscall(sys::kFsopen, request.type.c_str(), 1)));
  if (!context) return SysError{.code = errno, .syscall = "fsopen", .path = request.type};
  if (auto set = SetAll(context.get(), request); !set) return set.error();
  Fd mount(static_cast<int>(syscall(sys::kFsmount, context.get(), 1, request.attributes)));
  if (mount) return Described(std::move(mount));
  SysError error{.code = errno, .syscall = "fsmount", .flags = request.attributes};
  error.detail = ContextLog(context.get());
  return error;
}

Parameter ReadParameter(Args& args, Napi::Value value) {
  auto object = args.ObjectOf(value, "parameter");
  Parameter parameter;
  parameter.key = args.PathOf(args.Member(object, "key"), "key");
  const auto text = args.Member(object, "value");
  if (!text.IsUndefined()) parameter.value = args.PathOf(text, "value");
  const auto texts = args.Member(object, "values");
  if (!texts.IsUndefined()) parameter.values = args.BytesOf(texts, "values");
  const auto path = args.Member(object, "path");
  if (path.IsUndefined()) return parameter;
  parameter.path = args.PathOf(path, "path");
  parameter.by_name = args.Flag(object, "byName");
  parameter.userns_fd = args.Optional<int>(object, "usernsFd");
  return parameter;
}

Request ReadRequest(Args& args) {
  Request request;
  request.type = args.Text("type");
  request.cwd = args.Path("cwd");
  auto list = args.ArrayOf(args.Next(), "parameters");
  request.attributes = args.Integer<uint32_t>("attributes");
  request.parameters.reserve(list.Length());
  for (uint32_t i = 0; i < list.Length(); i++)
    request.parameters.push_back(ReadParameter(args, args.Element(list, i, "parameters")));
  return request;
}

Napi::Value FsmountConfigured(const Napi::CallbackInfo& info) {
  Args args(info);
  auto request = ReadRequest(args);
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "fsmount",
                [request = std::move(request)] { return MountConfigured(request); });
}

Napi::Value FsmountConfiguredNow(const Napi::CallbackInfo& info) {
  Args args(info);
  const auto request = ReadRequest(args);
  if (args.Failed()) return args.Throw();
  return RunNow(info.Env(), [&] { return MountConfigured(request); });
}

}  // namespace

void RegisterFscontext(Napi::Object exports) {
  Export(exports, "fsmountConfigured", FsmountConfigured);
  Export(exports, "fsmountConfiguredNow", FsmountConfiguredNow);
}

}  // namespace overlaid
