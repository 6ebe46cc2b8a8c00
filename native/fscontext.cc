// A whole file system context in one call: fsopen, each parameter, CMD_CREATE, fsmount. A chain of
// 500 layers has more than 500 parameters, and a promise each would cost many times what the kernel
// does.
#include <fcntl.h>

#include "args.h"
#include "fsconfig.h"
#include "job.h"
#include "register.h"

namespace overlaid {
namespace {

// One fsconfig call: a flag (neither value nor path), a string, or a directory that is opened for
// it.
struct Parameter {
  std::string key;
  std::optional<std::string> value;
  std::optional<std::string> path;
  int dirfd = AT_FDCWD;
  bool by_name = false;
};

// The directory stays open until the mount is made.
Status SetDirectory(int context, const Parameter& parameter, std::vector<Fd>& open_fds) {
  Fd fd(openat(parameter.dirfd, parameter.path->c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return SysError{.code = errno, .syscall = "openat", .path = *parameter.path};
  open_fds.push_back(std::move(fd));
  const int number = open_fds.back().get();
  if (!parameter.by_name) {
    return Fsconfig({context, sys::kFsconfigSetFd, parameter.key.c_str(), nullptr, number});
  }
  const auto name = "/proc/self/fd/" + std::to_string(number);
  return Fsconfig({context, sys::kFsconfigSetString, parameter.key.c_str(), name.c_str(), 0});
}

Status Set(int context, const Parameter& parameter, std::vector<Fd>& open_fds) {
  if (parameter.path) {
    auto set = SetDirectory(context, parameter, open_fds);
    if (!set && set.error().path == parameter.key) set.error().dest = parameter.path;
    return set;
  }
  const char* value = parameter.value ? parameter.value->c_str() : nullptr;
  const auto command = value == nullptr ? sys::kFsconfigSetFlag : sys::kFsconfigSetString;
  return Fsconfig({context, command, parameter.key.c_str(), value, 0});
}

Result<Fd> MountConfigured(const std::string& type, const std::vector<Parameter>& parameters,
                           uint32_t attributes) {
  const Fd context(static_cast<int>(syscall(sys::kFsopen, type.c_str(), 1)));
  if (!context) return SysError{.code = errno, .syscall = "fsopen", .path = type};
  std::vector<Fd> open_fds;
  for (uint32_t i = 0; i < parameters.size(); i++) {
    if (auto set = Set(context.get(), parameters[i], open_fds); !set) {
      set.error().index = i;
      return set.error();
    }
  }
  auto created = Fsconfig({context.get(), sys::kFsconfigCmdCreate, nullptr, nullptr, 0});
  if (!created) return created.error();
  Fd mount(static_cast<int>(syscall(sys::kFsmount, context.get(), 1, attributes)));
  if (mount) return mount;
  SysError error{.code = errno, .syscall = "fsmount", .flags = attributes};
  error.detail = ContextLog(context.get());
  return error;
}

Parameter ReadParameter(Args& args, Napi::Value value) {
  auto object = args.ObjectOf(value, "parameter");
  Parameter parameter;
  parameter.key = args.PathOf(object.Get("key"), "key");
  const auto text = object.Get("value");
  if (!text.IsUndefined()) parameter.value = args.PathOf(text, "value");
  const auto path = object.Get("path");
  if (path.IsUndefined()) return parameter;
  parameter.path = args.PathOf(path, "path");
  parameter.dirfd = args.IntegerOf<int>(object.Get("dirfd"), "dirfd");
  parameter.by_name = object.Get("byName").ToBoolean();
  return parameter;
}

Napi::Value FsmountConfigured(const Napi::CallbackInfo& info) {
  Args args(info);
  auto type = args.Text("type");
  auto list = args.ArrayOf(args.Next(), "parameters");
  const auto attributes = args.Integer<uint32_t>("attributes");
  std::vector<Parameter> parameters;
  parameters.reserve(list.Length());
  for (uint32_t i = 0; i < list.Length(); i++)
    parameters.push_back(ReadParameter(args, list.Get(i)));
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "fsmount",
                [=] { return MountConfigured(type, parameters, attributes); });
}

}  // namespace

void RegisterFscontext(Napi::Object exports) {
  Export(exports, "fsmountConfigured", FsmountConfigured);
}

}  // namespace overlaid
