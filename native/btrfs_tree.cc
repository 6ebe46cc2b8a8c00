#include "btrfs_tree.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/statfs.h>

#include <cstring>
#include <limits>
#include <vector>

#include "fd.h"

namespace overlaid::btrfs {
namespace {

constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
constexpr uint32_t kBtrfsMagic = 0x9123683E;

// BTRFS_IOC_SNAP_DESTROY_V2 (5.7), by id: the names on the way do not matter. Old headers lack it.
constexpr unsigned long kSnapDestroyV2 = _IOW(BTRFS_IOCTL_MAGIC, 63, btrfs_ioctl_vol_args_v2);
constexpr uint64_t kSpecById = 1ULL << 4;

Status SnapDestroyById(int fd, uint64_t id) {
  btrfs_ioctl_vol_args_v2 args{};
  args.flags = kSpecById;
  // The field `subvolid` of later headers lies where the name begins.
  std::memcpy(args.name, &id, sizeof id);
  if (ioctl(fd, kSnapDestroyV2, &args) == 0) return Done{};
  return SysError{.code = errno, .syscall = "BTRFS_IOC_SNAP_DESTROY_V2"};
}

// The ids of all subvolumes below the subvolume `id`, each after the one that it is in.
Result<std::vector<uint64_t>> SubvolumesBelow(int fd, uint64_t id) {
  std::vector<uint64_t> below;
  for (size_t next = 0;; next++) {
    const Slice children = {BTRFS_ROOT_TREE_OBJECTID, id, BTRFS_ROOT_REF_KEY, 0, kMax};
    auto found = SearchTree(fd, children,
                            [&](uint64_t child, const char*, size_t) { below.push_back(child); });
    if (!found) return found.error();
    if (next == below.size()) return below;
    id = below[next];
  }
}

}  // namespace

Status SearchTree(
    int fd, const Slice& slice,
    const std::function<void(uint64_t offset, const char* item, size_t size)>& visit) {
  btrfs_ioctl_search_args args{};
  auto& key = args.key;
  key.tree_id = slice.tree;
  key.min_objectid = key.max_objectid = slice.objectid;
  key.min_type = key.max_type = slice.type;
  key.min_offset = slice.first;
  key.max_offset = slice.last;
  key.max_transid = kMax;
  for (;;) {
    key.nr_items = std::numeric_limits<uint32_t>::max();
    if (ioctl(fd, BTRFS_IOC_TREE_SEARCH, &args) != 0) {
      return SysError{.code = errno, .syscall = "BTRFS_IOC_TREE_SEARCH"};
    }
    if (key.nr_items == 0) return Done{};
    const char* at = args.buf;
    for (uint32_t left = key.nr_items; left > 0; left--) {
      btrfs_ioctl_search_header header{};
      std::memcpy(&header, at, sizeof header);
      at += sizeof header;
      visit(header.offset, at, header.len);
      at += header.len;
      key.min_offset = header.offset;
    }
    if (key.min_offset >= slice.last) return Done{};
    key.min_offset++;
  }
}

Result<uint64_t> SubvolumeId(int fd) {
  btrfs_ioctl_ino_lookup_args args{};
  args.objectid = BTRFS_FIRST_FREE_OBJECTID;
  if (ioctl(fd, BTRFS_IOC_INO_LOOKUP, &args) == 0) return uint64_t{args.treeid};
  return SysError{.code = errno, .syscall = "BTRFS_IOC_INO_LOOKUP"};
}

bool IsSubvolume(int fd, ino_t inode) {
  if (inode != BTRFS_FIRST_FREE_OBJECTID) return false;
  // The numbers of btrfs' ioctls mean something else to others.
  struct statfs stat {};
  return fstatfs(fd, &stat) == 0 && static_cast<uint32_t>(stat.f_type) == kBtrfsMagic;
}

Status SnapDestroy(int dirfd, const std::string& name) {
  btrfs_ioctl_vol_args args{};
  if (name.size() >= sizeof args.name) {
    return SysError{.code = ENAMETOOLONG, .syscall = "BTRFS_IOC_SNAP_DESTROY", .path = name};
  }
  name.copy(args.name, name.size());
  if (ioctl(dirfd, BTRFS_IOC_SNAP_DESTROY, &args) == 0) return Done{};
  return SysError{.code = errno, .syscall = "BTRFS_IOC_SNAP_DESTROY", .path = name};
}

Status DestroySubvolume(int dirfd, const std::string& name, int fd) {
  // Again, since an O_PATH descriptor takes no ioctl.
  const Fd folder(openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder) return SysError{.code = errno, .syscall = "openat", .path = name};
  auto destroyed = SnapDestroy(folder.get(), name);
  if (destroyed || destroyed.error().code != ENOTEMPTY) return destroyed;
  auto id = SubvolumeId(fd);
  if (!id) return id.error();
  auto below = SubvolumesBelow(fd, *id);
  if (!below) return below.error();
  for (; !below->empty(); below->pop_back()) {
    auto gone = SnapDestroyById(fd, below->back());
    if (!gone && gone.error().code != ENOENT) return destroyed;
  }
  return SnapDestroy(folder.get(), name);
}

}  // namespace overlaid::btrfs
