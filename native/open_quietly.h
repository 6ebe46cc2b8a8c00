// Opening what is only read.
#pragma once

#include <fcntl.h>

#include "fd.h"

namespace overlaid {

// As openat(2), without leaving a mark of the reading where that is allowed (O_NOATIME is for
// owners): besides what it says, it costs an update of the inode.
inline Fd OpenQuietly(int dirfd, const char* name, int flags) {
  const int all = flags | O_RDONLY | O_NOFOLLOW | O_CLOEXEC;
  Fd fd(RetryEintr([&] { return openat(dirfd, name, all | O_NOATIME); }));
  if (!fd && errno == EPERM) fd = Fd(RetryEintr([&] { return openat(dirfd, name, all); }));
  return fd;
}

}  // namespace overlaid
