// Removing a tree without ever leaving it.
#pragma once

#include <string>

#include "result.h"

namespace overlaid {

// Removes `name` in `dirfd` and all below it. Links are removed, not followed; another mount below is EXDEV.
// What is missing counts as removed. Any depth: no descriptor is held per level.
Status RemoveTree(int dirfd, const std::string& name);

}  // namespace overlaid
