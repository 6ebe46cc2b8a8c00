// Extended attributes of paths whose last component is not followed, and of descriptors.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "result.h"

namespace overlaid {

// Where the attributes are: a descriptor when `path` is empty.
struct XattrPlace {
  int fd = -1;
  std::string path;
};

// Of the open `file`, or of `name` in `dir` where that is negative: the only way to a name below a
// descriptor before getxattrat (6.13).
XattrPlace PlaceOf(int file, int dir, const std::string& name);

// nullopt where the attribute is absent.
Result<std::optional<std::string>> GetXattr(const XattrPlace& place, const std::string& name);
struct NamedValue {
  std::string name;
  std::string value;
};

// The names, sorted.
Result<std::vector<std::string>> ListXattr(const XattrPlace& place);
// All with their values, sorted by name; none where the file system keeps none.
Result<std::vector<NamedValue>> AllXattrs(const XattrPlace& place);
Status SetXattr(const XattrPlace& place, const std::string& name, const std::string& value,
                int flags);

}  // namespace overlaid
