#include "copy_meta.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fd.h"

namespace overlaid {
namespace {

SysError Failed(const char* syscall) { return {.code = errno, .syscall = syscall}; }

bool IsOpen(const NewEntry& entry) { return entry.fd >= 0; }

bool SetOwner(const NewEntry& entry, const sys::Statx& stat) {
  if (IsOpen(entry)) return fchown(entry.fd, stat.uid, stat.gid) == 0;
  return fchownat(entry.parent, entry.name.c_str(), stat.uid, stat.gid, AT_SYMLINK_NOFOLLOW) == 0;
}

// A symlink has none of its own. Of what cannot be opened, O_PATH and /proc/self/fd lead to it and
// to nothing that took its place.
bool SetMode(const NewEntry& entry, const sys::Statx& stat) {
  const mode_t mode = stat.mode & 07777;
  if (IsOpen(entry)) return fchmod(entry.fd, mode) == 0;
  if (S_ISLNK(stat.mode)) return true;
  const Fd node(openat(entry.parent, entry.name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  return node && chmod(("/proc/self/fd/" + std::to_string(node.get())).c_str(), mode) == 0;
}

bool SetTimes(const NewEntry& entry, const sys::Statx& stat) {
  const auto time = [](const sys::StatxTimestamp& from) {
    return timespec{.tv_sec = from.sec, .tv_nsec = from.nsec};
  };
  const timespec times[2] = {time(stat.atime), time(stat.mtime)};
  if (IsOpen(entry)) return futimens(entry.fd, times) == 0;
  return utimensat(entry.parent, entry.name.c_str(), times, AT_SYMLINK_NOFOLLOW) == 0;
}

}  // namespace

// Owner first, since chown clears setuid bits and file capabilities; the mode after an access list,
// which changes it; times last.
Status SetMeta(const NewEntry& entry, const sys::Statx& stat,
               const std::vector<NamedValue>& xattrs) {
  if (!SetOwner(entry, stat)) return Failed("fchownat");
  const auto place = PlaceOf(entry.fd, entry.parent, entry.name);
  for (const auto& [name, value] : xattrs) {
    if (auto set = SetXattr(place, name, value, 0); !set) {
      set.error().dest = name;
      return set;
    }
  }
  if (!SetMode(entry, stat)) return Failed("fchmod");
  if (!SetTimes(entry, stat)) return Failed("utimensat");
  return Done{};
}

void StripInherited(const XattrPlace& place) {
  // Mostly there is none, and file systems without them say so in ways of their own.
  for (const char* name : {"system.posix_acl_access", "system.posix_acl_default"}) {
    if (place.path.empty()) {
      fremovexattr(place.fd, name);
    } else {
      lremovexattr(place.path.c_str(), name);
    }
  }
}

}  // namespace overlaid
