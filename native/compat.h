// Kernel numbers that older libc headers lack, each with the kernel that brought it. Everything
// newer than Linux 4.18 (RHEL 8) goes through syscall(2) with these, so that the addon builds the
// same on every libc.
#pragma once

#include <linux/dm-ioctl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace overlaid::sys {

// From 5.1 on, system call numbers are the same on every architecture that Node runs on.
constexpr long kOpenTree = 428;      // 5.2
constexpr long kMoveMount = 429;     // 5.2
constexpr long kFsopen = 430;        // 5.2
constexpr long kFsconfig = 431;      // 5.2
constexpr long kFsmount = 432;       // 5.2
constexpr long kPidfdOpen = 434;     // 5.3
constexpr long kCloseRange = 436;    // 5.9
constexpr long kOpenat2 = 437;       // 5.6
constexpr long kMountSetattr = 442;  // 5.12
constexpr long kQuotactlFd = 443;    // 5.14
constexpr long kStatmount = 457;     // 6.8
constexpr long kListmount = 458;     // 6.8

constexpr unsigned kFsconfigSetFlag = 0;
constexpr unsigned kFsconfigSetString = 1;
constexpr unsigned kFsconfigSetFd = 5;
constexpr unsigned kFsconfigCmdCreate = 6;

constexpr unsigned kMoveMountFEmptyPath = 0x04;
constexpr unsigned kOpenTreeClone = 1;
constexpr uint64_t kMountAttrIdmap = 0x00100000;  // 5.12

// openat2's struct open_how (5.6).
struct OpenHow {
  uint64_t flags;
  uint64_t mode;
  uint64_t resolve;
};
constexpr uint64_t kResolveNoXdev = 0x01;
constexpr uint64_t kResolveNoMagiclinks = 0x02;
constexpr uint64_t kResolveNoSymlinks = 0x04;
constexpr uint64_t kResolveInRoot = 0x10;

// struct mount_attr (5.12).
struct MountAttr {
  uint64_t attr_set;
  uint64_t attr_clr;
  uint64_t propagation;
  uint64_t userns_fd;
};

// struct statx with the mount id (5.8), which musl and old glibc keep in a spare field.
struct StatxTimestamp {
  int64_t sec;
  uint32_t nsec;
  int32_t reserved;
};
struct Statx {
  uint32_t mask;
  uint32_t blksize;
  uint64_t attributes;
  uint32_t nlink;
  uint32_t uid;
  uint32_t gid;
  uint16_t mode;
  uint16_t spare0;
  uint64_t ino;
  uint64_t size;
  uint64_t blocks;
  uint64_t attributes_mask;
  StatxTimestamp atime, btime, ctime, mtime;
  uint32_t rdev_major, rdev_minor;
  uint32_t dev_major, dev_minor;
  uint64_t mnt_id;
  uint64_t spare[13];
};
static_assert(sizeof(Statx) == 256);
constexpr unsigned kStatxBasicStats = 0x7ff;
constexpr unsigned kStatxMntId = 0x1000;          // 5.8
constexpr unsigned kStatxMntIdUnique = 0x4000;    // 6.8
constexpr uint64_t kStatxAttrMountRoot = 0x2000;  // 5.8

// statmount(2) and listmount(2) (6.8).
struct MntIdReq {
  uint32_t size;
  uint32_t spare;
  uint64_t mnt_id;
  uint64_t param;
};
struct Statmount {
  uint32_t size;
  uint32_t mnt_opts;  // offset into str, like the other uint32_t of a string
  uint64_t mask;
  uint32_t sb_dev_major, sb_dev_minor;
  uint64_t sb_magic;
  uint32_t sb_flags;
  uint32_t fs_type;
  uint64_t mnt_id;
  uint64_t mnt_parent_id;
  uint32_t mnt_id_old;
  uint32_t mnt_parent_id_old;
  uint64_t mnt_attr;
  uint64_t mnt_propagation;
  uint64_t mnt_peer_group;
  uint64_t mnt_master;
  uint64_t propagate_from;
  uint32_t mnt_root;
  uint32_t mnt_point;
  uint64_t mnt_ns_id;
  uint32_t fs_subtype;
  uint32_t sb_source;
  uint64_t spare[48];
  // char str[] follows.
};
static_assert(sizeof(Statmount) == 512);
constexpr uint64_t kStatmountSbBasic = 0x01;
constexpr uint64_t kStatmountMntBasic = 0x02;
constexpr uint64_t kStatmountMntRoot = 0x08;
constexpr uint64_t kStatmountMntPoint = 0x10;
constexpr uint64_t kStatmountFsType = 0x20;
constexpr uint64_t kStatmountMntOpts = 0x80;    // 6.11, some stable kernels before
constexpr uint64_t kStatmountSbSource = 0x200;  // 6.13

// DM_GET_TARGET_VERSION (5.4).
constexpr unsigned long kDmGetTargetVersion = _IOWR(DM_IOCTL, 17, struct dm_ioctl);

// LOOP_CONFIGURE and its struct loop_config (5.8).
constexpr unsigned long kLoopConfigure = 0x4C0A;
struct LoopConfig {
  uint32_t fd;
  uint32_t block_size;
  loop_info64 info;
  uint64_t reserved[8];
};

}  // namespace overlaid::sys
