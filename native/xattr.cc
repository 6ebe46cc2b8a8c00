#include "xattr.h"

#include <sys/xattr.h>

#include <algorithm>

#include "args.h"
#include "fd.h"
#include "job.h"
#include "register.h"

namespace overlaid {
namespace {

SysError Failure(const XattrPlace& place, const char* with_path, const char* with_fd) {
  SysError error{.code = errno, .syscall = place.path.empty() ? with_fd : with_path};
  if (!place.path.empty()) error.path = place.path;
  return error;
}

// Calls `call(buffer, size)` with a buffer that is large enough; the value may grow between two
// calls.
template <typename Call>
ssize_t Fill(std::string& buffer, Call call) {
  buffer.resize(256);
  ssize_t length = call(buffer.data(), buffer.size());
  while (length < 0 && errno == ERANGE) {
    const ssize_t needed = call(nullptr, size_t{0});
    if (needed < 0) return needed;
    buffer.resize(std::max<size_t>(static_cast<size_t>(needed), 1));
    length = call(buffer.data(), buffer.size());
  }
  if (length >= 0) buffer.resize(static_cast<size_t>(length));
  return length;
}

}  // namespace

XattrPlace PlaceOf(int file, int dir, const std::string& name) {
  if (file >= 0) return {.fd = file, .path = {}};
  return {.fd = -1, .path = "/proc/self/fd/" + std::to_string(dir) + "/" + name};
}

Result<std::optional<std::string>> GetXattr(const XattrPlace& place, const std::string& name) {
  std::string value;
  const auto length = Fill(value, [&](char* buffer, size_t size) {
    return place.path.empty() ? fgetxattr(place.fd, name.c_str(), buffer, size)
                              : lgetxattr(place.path.c_str(), name.c_str(), buffer, size);
  });
  if (length >= 0) return std::optional(std::move(value));
  if (errno == ENODATA) return std::optional<std::string>();
  return Failure(place, "lgetxattr", "fgetxattr");
}

Result<std::vector<std::string>> ListXattr(const XattrPlace& place) {
  std::string names;
  const auto length = Fill(names, [&](char* buffer, size_t size) {
    return place.path.empty() ? flistxattr(place.fd, buffer, size)
                              : llistxattr(place.path.c_str(), buffer, size);
  });
  if (length < 0) return Failure(place, "llistxattr", "flistxattr");
  std::vector<std::string> list;
  for (size_t at = 0; at < names.size(); at += list.back().size() + 1) {
    list.emplace_back(names.c_str() + at);
  }
  std::sort(list.begin(), list.end());
  return list;
}

Result<std::vector<NamedValue>> AllXattrs(const XattrPlace& place) {
  std::vector<NamedValue> xattrs;
  auto names = ListXattr(place);
  if (!names && names.error().code == EOPNOTSUPP) return xattrs;
  if (!names) return names.error();
  for (auto& name : *names) {
    auto value = GetXattr(place, name);
    if (!value) return value.error();
    // Gone since it was listed.
    if (*value) xattrs.push_back({std::move(name), std::move(**value)});
  }
  return xattrs;
}

Status SetXattr(const XattrPlace& place, const std::string& name, const std::string& value,
                int flags) {
  const int result =
      place.path.empty()
          ? fsetxattr(place.fd, name.c_str(), value.data(), value.size(), flags)
          : lsetxattr(place.path.c_str(), name.c_str(), value.data(), value.size(), flags);
  if (result == 0) return Done{};
  return Failure(place, "lsetxattr", "fsetxattr");
}

namespace {

// l*xattr take a path, f*xattr a descriptor; everything else is the same.
template <bool kByFd>
XattrPlace ReadPlace(Args& args) {
  if constexpr (kByFd) return {.fd = args.FdNumber("fd"), .path = {}};
  XattrPlace place{.fd = -1, .path = args.Path("path")};
  // An empty path would mean the descriptor to the functions above; to the kernel it is ENOENT
  // anyway.
  if (place.path.empty()) args.Fail("path", "a path of at least one byte");
  return place;
}

template <bool kByFd>
Napi::Value Get(const Napi::CallbackInfo& info) {
  Args args(info);
  auto place = ReadPlace<kByFd>(args);
  auto name = args.Path("name");
  if (args.Failed()) return args.Throw();
  using Outcome = Result<std::optional<ByteString>>;
  return RunJob(info.Env(), "getxattr", [=]() -> Outcome {
    auto value = GetXattr(place, name);
    if (!value) return value.error();
    if (!*value) return std::optional<ByteString>();
    return std::optional(ByteString{std::move(**value)});
  });
}

template <bool kByFd>
Napi::Value Set(const Napi::CallbackInfo& info) {
  Args args(info);
  auto place = ReadPlace<kByFd>(args);
  auto name = args.Path("name");
  auto value = args.Bytes("value");
  const int flags = args.Integer<int>("flags");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "setxattr", [=] { return SetXattr(place, name, value, flags); });
}

template <bool kByFd>
Napi::Value List(const Napi::CallbackInfo& info) {
  Args args(info);
  auto place = ReadPlace<kByFd>(args);
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "listxattr", [=] { return ListXattr(place); });
}

Napi::Value Lremovexattr(const Napi::CallbackInfo& info) {
  Args args(info);
  auto path = args.Path("path");
  auto name = args.Path("name");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "lremovexattr", [=]() -> Status {
    if (lremovexattr(path.c_str(), name.c_str()) == 0) return Done{};
    return SysError{.code = errno, .syscall = "lremovexattr", .path = path};
  });
}

}  // namespace

void RegisterXattr(Napi::Object exports) {
  Export(exports, "lgetxattr", Get<false>);
  Export(exports, "fgetxattr", Get<true>);
  Export(exports, "lsetxattr", Set<false>);
  Export(exports, "fsetxattr", Set<true>);
  Export(exports, "llistxattr", List<false>);
  Export(exports, "flistxattr", List<true>);
  Export(exports, "lremovexattr", Lremovexattr);
}

}  // namespace overlaid
