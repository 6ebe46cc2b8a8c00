// Opening a path below a root as if the root were `/`: links of the tree are followed inside it,
// never out of it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fd.h"
#include "result.h"

namespace overlaid {

// Opens `path` below `root_fd` with open(2) flags. By openat2(RESOLVE_IN_ROOT | NO_MAGICLINKS |
// NO_XDEV); where the kernel has it not, or a seccomp filter forbids it, component by component.
// Returns -1 and errno.
int OpenInRoot(int root_fd, const std::string& path, int flags, unsigned mode);

// Opens the directory `name`, a single component, in `dirfd` for reading: follows no link, enters
// no other mount (EXDEV).
int OpenChildDirectory(int dirfd, const char* name);

// Opens the directory `path` below `root_fd` for reading, of any length; the root itself where it
// is empty. Returns -1 and errno.
int OpenFolderDeep(int root_fd, std::string_view path);

// The component-by-component way; OpenInRoot's fallback.
int WalkInRoot(int root_fd, std::string_view path, int flags, unsigned mode);

// Whether openat2(2) may be used; false forces the fallback.
bool UsesOpenat2();

}  // namespace overlaid
