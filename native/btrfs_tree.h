// btrfs by ioctl: what of its trees is read, and the removal of a subvolume with all in it.
#pragma once

#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>

#include "result.h"

namespace overlaid::btrfs {

// Which items of a tree: those of `objectid` and `type` whose offset is in the range.
struct Slice {
  uint64_t tree;
  uint64_t objectid;
  uint32_t type;
  uint64_t first;
  uint64_t last;
};

// Calls `visit` with each item's offset and bytes, in order, by BTRFS_IOC_TREE_SEARCH on any
// descriptor of the file system. Needs CAP_SYS_ADMIN.
Status SearchTree(int fd, const Slice& slice,
                  const std::function<void(uint64_t offset, const char* item, size_t size)>& visit);

// The id of the subvolume that `fd` is in.
Result<uint64_t> SubvolumeId(int fd);

// Whether `inode`, the inode number of the directory `fd`, is that of a subvolume's root and the
// file system is btrfs.
bool IsSubvolume(int fd, ino_t inode);

// Removes the subvolume `name` of `dirfd`, open as `fd`, and all subvolumes below it, whatever they
// hold and whether or not they are read-only. The kernel frees their files later. Where it is
// ENOTEMPTY in the end (before 5.7, or another was made meanwhile) those below have to go one by
// one.
Status DestroySubvolume(int dirfd, const std::string& name, int fd);

// BTRFS_IOC_SNAP_DESTROY.
Status SnapDestroy(int dirfd, const std::string& name);

}  // namespace overlaid::btrfs
