// Whole directories in one call: getdents64, scandirat (getdents64 + statx + xattrs + readlink),
// removeTree.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include "args.h"
#include "dirent.h"
#include "job.h"
#include "register.h"
#include "remove_tree.h"
#include "resolve.h"
#include "statx.h"
#include "xattr.h"

namespace overlaid {

static Napi::Value ToJs(Napi::Env env, const Dirent& entry) {
  auto object = Napi::Object::New(env);
  object.Set("name", ToJs(env, ByteString{entry.name}));
  object.Set("type", Napi::Number::New(env, entry.type));
  object.Set("ino", Napi::BigInt::New(env, entry.ino));
  return object;
}

static Napi::Value ToJs(Napi::Env env, const NamedValue& xattr) {
  auto object = Napi::Object::New(env);
  object.Set("name", xattr.name);
  object.Set("value", ToJs(env, ByteString{xattr.value}));
  return object;
}

struct Scanned {
  std::string name;
  sys::Statx stat;
  std::vector<NamedValue> xattrs;
  std::optional<std::string> target;
};

static Napi::Value ToJs(Napi::Env env, const Scanned& entry) {
  auto object = Napi::Object::New(env);
  object.Set("name", ToJs(env, ByteString{entry.name}));
  object.Set("stat", ToJs(env, entry.stat));
  object.Set("xattrs", ToJs(env, entry.xattrs));
  if (entry.target) object.Set("target", ToJs(env, ByteString{*entry.target}));
  return object;
}

namespace {

// All of one entry; ENOENT when it went away since the directory was read.
Result<Scanned> ScanEntry(int fd, std::string name, bool with_xattrs) {
  Scanned entry{.name = std::move(name), .stat = {}, .xattrs = {}, .target = {}};
  if (StatAt(fd, entry.name.c_str(), AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, &entry.stat) != 0) {
    return SysError{.code = errno, .syscall = "statx", .path = entry.name};
  }
  if (S_ISLNK(entry.stat.mode)) {
    auto target = ReadLink(fd, entry.name);
    if (!target) return target.error();
    entry.target = std::move(*target);
  }
  if (!with_xattrs) return entry;
  // The only way to a name below a descriptor before getxattrat (6.13).
  auto xattrs =
      AllXattrs({.fd = -1, .path = "/proc/self/fd/" + std::to_string(fd) + "/" + entry.name});
  if (!xattrs) return xattrs.error();
  entry.xattrs = std::move(*xattrs);
  return entry;
}

Result<std::vector<Scanned>> Scan(int dirfd, const std::string& path, bool with_xattrs) {
  constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  const Fd fd(openat(dirfd, path.empty() ? "." : path.c_str(), kFlags));
  if (!fd) return SysError{.code = errno, .syscall = "openat", .path = path};
  auto names = ReadDirectory(fd.get());
  if (!names) return names.error();
  std::sort(names->begin(), names->end(), [](auto& a, auto& b) { return a.name < b.name; });
  std::vector<Scanned> entries;
  entries.reserve(names->size());
  for (auto& dirent : *names) {
    auto entry = ScanEntry(fd.get(), std::move(dirent.name), with_xattrs);
    if (entry) {
      entries.push_back(std::move(*entry));
    } else if (entry.error().code != ENOENT) {
      return entry.error();
    }
  }
  return entries;
}

Napi::Value Getdents64(const Napi::CallbackInfo& info) {
  Args args(info);
  const int fd = args.FdNumber("fd");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "getdents64", [fd] { return ReadDirectory(fd); });
}

Napi::Value Scandirat(const Napi::CallbackInfo& info) {
  Args args(info);
  const int dirfd = args.FdNumber("dirfd");
  auto path = args.Path("path");
  const bool with_xattrs = args.Flag(args.Object("options"), "xattrs");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "scandirat", [=] { return Scan(dirfd, path, with_xattrs); });
}

Napi::Value RemoveTreeCall(const Napi::CallbackInfo& info) {
  Args args(info);
  const int dirfd = args.FdNumber("dirfd");
  auto path = args.Path("path");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "unlinkat", [=] { return RemoveTree(dirfd, path); });
}

Napi::Value Readlinkat(const Napi::CallbackInfo& info) {
  Args args(info);
  const int dirfd = args.FdNumber("dirfd");
  auto path = args.Path("path");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "readlinkat", [=]() -> Result<ByteString> {
    auto target = ReadLink(dirfd, path);
    if (!target) return target.error();
    return ByteString{std::move(*target)};
  });
}

}  // namespace

void RegisterDir(Napi::Object exports) {
  Export(exports, "getdents64", Getdents64);
  Export(exports, "scandirat", Scandirat);
  Export(exports, "removeTree", RemoveTreeCall);
  Export(exports, "readlinkat", Readlinkat);
}

}  // namespace overlaid
