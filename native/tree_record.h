// How an entry of a tree crosses into JavaScript; lib/fs/walk-entry.ts reads it.
#pragma once

#include <cstdint>

#include "compat.h"

namespace overlaid {

// What statx(2) says, in the order and widths that a DataView reads. Mode 0: there is nothing.
struct RecordFacts {
  uint32_t mode, uid, gid, nlink;
  uint32_t dev_major, dev_minor, rdev_major, rdev_minor;
  uint32_t mtime_nsec, unused;
  double size, blocks, mtime_sec;
  uint64_t ino;
};

// After it come, in this order and without gaps: the name, a symlink's target, the attributes, the
// attributes in the tree beside, the body. An attribute is the lengths of its name and value as
// uint32_t, then both.
struct RecordHead {
  // Bytes of the whole record.
  uint32_t length;
  // Directories between the root and the entry.
  uint32_t depth;
  // Descriptor of the open file, or -1.
  int32_t file;
  uint32_t name_length, target_length, xattrs_length, beside_xattrs_length;
  // kNoBody where it was not read.
  uint32_t body_length;
  RecordFacts facts, beside;
};
static_assert(sizeof(RecordFacts) == 72 && sizeof(RecordHead) == 176);

constexpr uint32_t kNoBody = 0xffffffff;

inline RecordFacts FactsOf(const sys::Statx& stat) {
  return {
      .mode = stat.mode,
      .uid = stat.uid,
      .gid = stat.gid,
      .nlink = stat.nlink,
      .dev_major = stat.dev_major,
      .dev_minor = stat.dev_minor,
      .rdev_major = stat.rdev_major,
      .rdev_minor = stat.rdev_minor,
      .mtime_nsec = stat.mtime.nsec,
      .unused = 0,
      .size = static_cast<double>(stat.size),
      .blocks = static_cast<double>(stat.blocks),
      .mtime_sec = static_cast<double>(stat.mtime.sec),
      .ino = stat.ino,
  };
}

}  // namespace overlaid
