// btrfs' own calls: subvolumes, snapshots and quota groups.
#include <endian.h>
#include <sys/ioctl.h>

#include <cstring>
#include <limits>

#include "args.h"
#include "btrfs_tree.h"
#include "job.h"
#include "register.h"

namespace overlaid {

// In this namespace, so that Job finds its ToJs. Bytes; a limit that is not set is left out.
struct Qgroup {
  uint64_t referenced;
  uint64_t exclusive;
  std::optional<uint64_t> max_referenced;
  std::optional<uint64_t> max_exclusive;
  // The numbers are wrong until the next scan.
  bool inconsistent;
};

static Napi::Value ToJs(Napi::Env env, const Qgroup& qgroup) {
  auto object = Napi::Object::New(env);
  object.Set("referenced", ToJs(env, qgroup.referenced));
  object.Set("exclusive", ToJs(env, qgroup.exclusive));
  if (qgroup.max_referenced) object.Set("maxReferenced", ToJs(env, *qgroup.max_referenced));
  if (qgroup.max_exclusive) object.Set("maxExclusive", ToJs(env, *qgroup.max_exclusive));
  object.Set("inconsistent", qgroup.inconsistent);
  return object;
}

namespace {

constexpr uint64_t kUnlimited = std::numeric_limits<uint64_t>::max();

// The kernel reads names to the NUL that must be there.
template <typename VolumeArgs>
Status SetName(VolumeArgs& args, const std::string& name, const char* syscall) {
  if (name.size() >= sizeof args.name) {
    return SysError{.code = ENAMETOOLONG, .syscall = syscall, .path = name};
  }
  name.copy(args.name, name.size());
  return Done{};
}

Status SubvolCreate(int dirfd, const std::string& name) {
  constexpr const char* kCall = "BTRFS_IOC_SUBVOL_CREATE";
  btrfs_ioctl_vol_args args{};
  if (auto named = SetName(args, name, kCall); !named) return named;
  if (ioctl(dirfd, BTRFS_IOC_SUBVOL_CREATE, &args) == 0) return Done{};
  return SysError{.code = errno, .syscall = kCall, .path = name};
}

Status SnapCreate(int fd, int dirfd, const std::string& name, bool read_only) {
  constexpr const char* kCall = "BTRFS_IOC_SNAP_CREATE_V2";
  btrfs_ioctl_vol_args_v2 args{};
  if (auto named = SetName(args, name, kCall); !named) return named;
  args.fd = fd;
  args.flags = read_only ? BTRFS_SUBVOL_RDONLY : 0;
  if (ioctl(dirfd, BTRFS_IOC_SNAP_CREATE_V2, &args) == 0) return Done{};
  return SysError{.code = errno, .syscall = kCall, .path = name};
}

Status QuotaEnable(int fd) {
  btrfs_ioctl_quota_ctl_args args{};
  args.cmd = BTRFS_QUOTA_CTL_ENABLE;
  if (ioctl(fd, BTRFS_IOC_QUOTA_CTL, &args) == 0) return Done{};
  return SysError{.code = errno, .syscall = "BTRFS_IOC_QUOTA_CTL"};
}

// Begins to count anew, or leaves the count that is under way.
Status QuotaRescan(int fd) {
  btrfs_ioctl_quota_rescan_args args{};
  if (ioctl(fd, BTRFS_IOC_QUOTA_RESCAN, &args) == 0 || errno == EINPROGRESS) return Done{};
  return SysError{.code = errno, .syscall = "BTRFS_IOC_QUOTA_RESCAN"};
}

// Takes as long as reading all metadata of the file system does.
Status QuotaRescanWait(int fd) {
  if (RetryEintr([&] { return ioctl(fd, BTRFS_IOC_QUOTA_RESCAN_WAIT); }) == 0) return Done{};
  return SysError{.code = errno, .syscall = "BTRFS_IOC_QUOTA_RESCAN_WAIT"};
}

// The group 0/<id> of the subvolume that `fd` is in.
Status QgroupLimit(int fd, std::optional<uint64_t> exclusive) {
  btrfs_ioctl_qgroup_limit_args args{};
  args.lim.flags = BTRFS_QGROUP_LIMIT_MAX_EXCL;
  // All bits set takes a limit away (3.19).
  args.lim.max_excl = exclusive.value_or(kUnlimited);
  if (ioctl(fd, BTRFS_IOC_QGROUP_LIMIT, &args) == 0) return Done{};
  return SysError{.code = errno, .syscall = "BTRFS_IOC_QGROUP_LIMIT"};
}

// The item of `type` that the quota tree has of the qgroup `id`; false where it has none.
template <typename Item>
Result<bool> ReadQuotaItem(int fd, uint32_t type, uint64_t id, Item& item) {
  bool found = false;
  auto searched = btrfs::SearchTree(fd, {BTRFS_QUOTA_TREE_OBJECTID, 0, type, id, id},
                                    [&](uint64_t, const char* bytes, size_t size) {
                                      if (size < sizeof item) return;
                                      std::memcpy(&item, bytes, sizeof item);
                                      found = true;
                                    });
  if (searched) return found;
  // No quota tree: quotas are off.
  if (searched.error().code == ENOENT) return false;
  return searched.error();
}

Result<std::optional<Qgroup>> ReadQgroup(int fd) {
  auto id = btrfs::SubvolumeId(fd);
  if (!id) return id.error();
  btrfs_qgroup_info_item info{};
  auto has_info = ReadQuotaItem(fd, BTRFS_QGROUP_INFO_KEY, *id, info);
  if (!has_info) return has_info.error();
  if (!*has_info) return std::optional<Qgroup>();
  Qgroup qgroup{.referenced = le64toh(info.rfer),
                .exclusive = le64toh(info.excl),
                .max_referenced = {},
                .max_exclusive = {},
                .inconsistent = false};
  btrfs_qgroup_limit_item limit{};
  auto has_limit = ReadQuotaItem(fd, BTRFS_QGROUP_LIMIT_KEY, *id, limit);
  if (!has_limit) return has_limit.error();
  const uint64_t flags = le64toh(limit.flags);
  if ((flags & BTRFS_QGROUP_LIMIT_MAX_RFER) != 0) qgroup.max_referenced = le64toh(limit.max_rfer);
  if ((flags & BTRFS_QGROUP_LIMIT_MAX_EXCL) != 0) qgroup.max_exclusive = le64toh(limit.max_excl);
  btrfs_qgroup_status_item status{};
  auto has_status = ReadQuotaItem(fd, BTRFS_QGROUP_STATUS_KEY, 0, status);
  if (!has_status) return has_status.error();
  qgroup.inconsistent = (le64toh(status.flags) & BTRFS_QGROUP_STATUS_FLAG_INCONSISTENT) != 0;
  return std::optional<Qgroup>(qgroup);
}

Napi::Value BtrfsSubvolCreate(const Napi::CallbackInfo& info) {
  Args args(info);
  const int dirfd = args.FdNumber("dirfd");
  auto name = args.Path("name");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "btrfs", [=] { return SubvolCreate(dirfd, name); });
}

Napi::Value BtrfsSnapCreate(const Napi::CallbackInfo& info) {
  Args args(info);
  const int fd = args.FdNumber("fd");
  const int dirfd = args.FdNumber("dirfd");
  auto name = args.Path("name");
  const bool read_only = args.Flag(args.Object("options"), "readOnly");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "btrfs", [=] { return SnapCreate(fd, dirfd, name, read_only); });
}

Napi::Value BtrfsSnapDestroy(const Napi::CallbackInfo& info) {
  Args args(info);
  const int dirfd = args.FdNumber("dirfd");
  auto name = args.Path("name");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "btrfs", [=] { return btrfs::SnapDestroy(dirfd, name); });
}

// A call whose one argument is a descriptor.
template <auto Work>
Napi::Value CallOnFd(const Napi::CallbackInfo& info) {
  Args args(info);
  const int fd = args.FdNumber("fd");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "btrfs", [fd] { return Work(fd); });
}

Napi::Value BtrfsQgroupLimit(const Napi::CallbackInfo& info) {
  Args args(info);
  const int fd = args.FdNumber("fd");
  const auto exclusive = args.Optional<uint64_t>(args.Object("limit"), "exclusive");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "btrfs", [=] { return QgroupLimit(fd, exclusive); });
}

}  // namespace

void RegisterBtrfs(Napi::Object exports) {
  Export(exports, "btrfsSubvolCreate", BtrfsSubvolCreate);
  Export(exports, "btrfsSnapCreate", BtrfsSnapCreate);
  Export(exports, "btrfsSnapDestroy", BtrfsSnapDestroy);
  Export(exports, "btrfsQuotaEnable", CallOnFd<QuotaEnable>);
  Export(exports, "btrfsQuotaRescan", CallOnFd<QuotaRescan>);
  Export(exports, "btrfsQuotaRescanWait", CallOnFd<QuotaRescanWait>);
  Export(exports, "btrfsQgroupLimit", BtrfsQgroupLimit);
  Export(exports, "btrfsQgroup", CallOnFd<ReadQgroup>);
}

}  // namespace overlaid
