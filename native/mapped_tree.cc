#include "mapped_tree.h"

#include <fcntl.h>

#include "compat.h"

namespace overlaid {

Result<Fd> CloneTree(int dirfd, const std::string& path, std::optional<int> userns_fd) {
  Fd tree(static_cast<int>(
      syscall(sys::kOpenTree, dirfd, path.c_str(), sys::kOpenTreeClone | O_CLOEXEC)));
  if (!tree) return SysError{.code = errno, .syscall = "open_tree", .path = path};
  if (!userns_fd) return tree;
  sys::MountAttr attr{};
  attr.attr_set = sys::kMountAttrIdmap;
  attr.userns_fd = static_cast<uint64_t>(*userns_fd);
  if (syscall(sys::kMountSetattr, tree.get(), "", AT_EMPTY_PATH, &attr, sizeof attr) == 0) {
    return tree;
  }
  return SysError{
      .code = errno, .syscall = "mount_setattr", .path = path, .flags = sys::kMountAttrIdmap};
}

}  // namespace overlaid
