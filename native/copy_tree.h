// Copying a tree of files, to the last attribute.
#pragma once

#include <atomic>
#include <optional>
#include <string>
#include <vector>

#include "result.h"

namespace overlaid {

struct CopyRequest {
  // The roots; the caller keeps them open.
  int from_fd = -1;
  int to_fd = -1;
  // Paths below the source's root, each to be copied with all that is in it; their folders are in
  // the target already. nullopt: everything, and the root's own metadata.
  std::optional<std::vector<std::string>> only;
  // Names of attributes that stay behind.
  std::vector<std::string> left_out;
};

// Copies files (sharing blocks where the file system can, holes as holes), symlinks, devices,
// fifos, what are links of one file as such, owners, modes, attributes, times; no sockets. Follows
// no link; another mount is EXDEV, a name that is there already EEXIST. A failure names the path
// below the roots and leaves what is copied so far; so does ECANCELED, some time after `cancelled`
// was set. In memory are the names of the folders on the way down that are still to be copied, and
// the files that have more names to come. Any depth: no descriptor is held for a level.
Status CopyTree(const CopyRequest& request, const std::atomic<bool>& cancelled);

}  // namespace overlaid
