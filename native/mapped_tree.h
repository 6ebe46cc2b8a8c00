// Detached clones of folders, whose ids are mapped on the way.
#pragma once

#include <optional>
#include <string>

#include "fd.h"
#include "result.h"

namespace overlaid {

// A detached clone of `path`, which starts in `dirfd`; with the ids that the user namespace maps.
Result<Fd> CloneTree(int dirfd, const std::string& path, std::optional<int> userns_fd);

}  // namespace overlaid
