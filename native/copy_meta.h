// The metadata of a file that was just made.
#pragma once

#include <string>
#include <vector>

#include "compat.h"
#include "result.h"
#include "xattr.h"

namespace overlaid {

// A new file or directory that is open as `fd`, or whatever else is at `name` in `parent`, with a
// negative `fd`.
struct NewEntry {
  int fd;
  int parent;
  const std::string& name;
};

// Gives it the owner, mode, times and `xattrs` of what it is a copy of. An error of an attribute
// has its name as `dest`.
Status SetMeta(const NewEntry& entry, const sys::Statx& stat,
               const std::vector<NamedValue>& xattrs);

// Removes the access lists that the folder it was made in gave it.
void StripInherited(const XattrPlace& place);

}  // namespace overlaid
