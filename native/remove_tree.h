// Removing a tree without ever leaving it.
#pragma once

#include <string>

#include "result.h"

namespace overlaid {

// Removes `path` from `dirfd` and all below it. The way to its last component is any path; from
// there on links are removed, not followed, and another mount is EXDEV. What is missing counts as
// removed. Any depth: no descriptor is held for a level. A btrfs subvolume goes as a whole.
Status RemoveTree(int dirfd, const std::string& path);

}  // namespace overlaid
