// Project quotas: the project that a file or folder belongs to (FS_IOC_FSGETXATTR and
// FS_IOC_FSSETXATTR), and a project's limits and counters (quotactl_fd(2), before 5.14 quotactl(2)
// with the block device).
//
// The commands are those of XFS. The kernel translates them for every file system with quotas (ext4
// has projects since 4.5), and unlike the older ones they count in units of 512 bytes everywhere.
#include <fcntl.h>
#include <linux/dqblk_xfs.h>
#include <linux/fs.h>
#include <linux/quota.h>
#include <sys/ioctl.h>

#include "args.h"
#include "compat.h"
#include "job.h"
#include "register.h"

namespace overlaid {

// In this namespace, so that Job finds their ToJs.
struct FileProject {
  uint32_t xflags;
  uint32_t project_id;
};

// A number of a project, or a word of flags.
struct Word {
  uint32_t value;
};

struct ProjectQuota {
  uint64_t limit;
  uint64_t used;
  uint64_t inodes;
};

static Napi::Value ToJs(Napi::Env env, const Word& word) {
  return Napi::Number::New(env, word.value);
}

static Napi::Value ToJs(Napi::Env env, const FileProject& project) {
  auto object = Napi::Object::New(env);
  object.Set("xflags", static_cast<double>(project.xflags));
  object.Set("projectID", static_cast<double>(project.project_id));
  return object;
}

static Napi::Value ToJs(Napi::Env env, const ProjectQuota& quota) {
  auto object = Napi::Object::New(env);
  object.Set("limit", static_cast<double>(quota.limit));
  object.Set("used", static_cast<double>(quota.used));
  object.Set("inodes", static_cast<double>(quota.inodes));
  return object;
}

namespace {

constexpr uint64_t kUnit = 512;

// A file system by a descriptor in it, and by its block device for kernels that need that.
struct Place {
  int fd;
  std::string device;
};

Place ReadPlace(Args& args) {
  const int fd = args.FdNumber("fd");
  return {.fd = fd, .device = args.Path("device")};
}

// ENOSYS is also the answer of a file system without quotas. No filter that knows the call says
// anything but EBADF here.
bool HasQuotactlFd() {
  static const bool has =
      syscall(sys::kQuotactlFd, -1, QCMD(Q_XGETQSTATV, PRJQUOTA), 0, nullptr) == -1 &&
      errno == EBADF;
  return has;
}

int Quotactl(const Place& place, int command, uint32_t id, void* data) {
  const auto word = static_cast<unsigned>(QCMD(command, PRJQUOTA));
  return static_cast<int>(RetryEintr([&] {
    if (HasQuotactlFd()) return syscall(sys::kQuotactlFd, place.fd, word, id, data);
    return syscall(SYS_quotactl, word, place.device.c_str(), id, data);
  }));
}

SysError QuotactlError(const Place& place) {
  if (HasQuotactlFd()) return {.code = errno, .syscall = "quotactl_fd"};
  return {.code = errno, .syscall = "quotactl", .path = place.device};
}

Result<ProjectQuota> GetQuota(const Place& place, uint32_t id) {
  fs_disk_quota record{};
  if (Quotactl(place, Q_XGETQUOTA, id, &record) == 0) {
    return ProjectQuota{.limit = record.d_blk_hardlimit * kUnit,
                        .used = record.d_bcount * kUnit,
                        .inodes = record.d_icount};
  }
  // XFS has no record of a project that nothing ever belonged to.
  if (errno == ENOENT) return ProjectQuota{};
  return QuotactlError(place);
}

Napi::Value HasQuotactlFdNow(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), HasQuotactlFd());
}

Napi::Value Fsgetxattr(const Napi::CallbackInfo& info) {
  Args args(info);
  const int fd = args.FdNumber("fd");
  if (args.Failed()) return args.Throw();
  return RunNow(info.Env(), [fd]() -> Result<FileProject> {
    fsxattr attributes{};
    if (ioctl(fd, FS_IOC_FSGETXATTR, &attributes) == 0) {
      return FileProject{.xflags = attributes.fsx_xflags, .project_id = attributes.fsx_projid};
    }
    return SysError{.code = errno, .syscall = "FS_IOC_FSGETXATTR"};
  });
}

Napi::Value Fssetxattr(const Napi::CallbackInfo& info) {
  Args args(info);
  const int fd = args.FdNumber("fd");
  const auto xflags = args.Integer<uint32_t>("xflags");
  const auto project_id = args.Integer<uint32_t>("projectID");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "fssetxattr", [=]() -> Status {
    // What is set here is all of it: the extent sizes as they are.
    fsxattr attributes{};
    if (ioctl(fd, FS_IOC_FSGETXATTR, &attributes) != 0) {
      return SysError{.code = errno, .syscall = "FS_IOC_FSGETXATTR"};
    }
    attributes.fsx_xflags = xflags;
    attributes.fsx_projid = project_id;
    if (ioctl(fd, FS_IOC_FSSETXATTR, &attributes) == 0) return Done{};
    return SysError{.code = errno, .syscall = "FS_IOC_FSSETXATTR"};
  });
}

Napi::Value QuotactlState(const Napi::CallbackInfo& info) {
  Args args(info);
  auto place = ReadPlace(args);
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "quotactl", [=]() -> Result<Word> {
    fs_quota_statv state{};
    state.qs_version = FS_QSTATV_VERSION1;
    if (Quotactl(place, Q_XGETQSTATV, 0, &state) == 0) return Word{state.qs_flags};
    return QuotactlError(place);
  });
}

Napi::Value QuotactlGet(const Napi::CallbackInfo& info) {
  Args args(info);
  auto place = ReadPlace(args);
  const auto id = args.Integer<uint32_t>("projectID");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "quotactl", [=] { return GetQuota(place, id); });
}

// Soft limit and hard limit alike: there is no grace time.
Napi::Value QuotactlSet(const Napi::CallbackInfo& info) {
  Args args(info);
  auto place = ReadPlace(args);
  const auto id = args.Integer<uint32_t>("projectID");
  const auto limit = args.Integer<uint64_t>("limit");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "quotactl", [=]() -> Status {
    fs_disk_quota record{};
    record.d_version = FS_DQUOT_VERSION;
    record.d_flags = FS_PROJ_QUOTA;
    record.d_fieldmask = FS_DQ_BHARD | FS_DQ_BSOFT;
    record.d_id = id;
    record.d_blk_hardlimit = record.d_blk_softlimit = (limit + kUnit - 1) / kUnit;
    if (Quotactl(place, Q_XSETQLIM, id, &record) == 0) return Done{};
    return QuotactlError(place);
  });
}

// In one call: a turn of the pool for each would take a hundred times as long as the asking.
Napi::Value QuotactlFindFree(const Napi::CallbackInfo& info) {
  Args args(info);
  auto place = ReadPlace(args);
  const auto from = args.Integer<uint32_t>("from");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "quotactl", [=]() -> Result<Word> {
    for (uint32_t id = from; id < UINT32_MAX; id++) {
      auto quota = GetQuota(place, id);
      if (!quota) return quota.error();
      if (quota->inodes == 0) return Word{id};
    }
    return SysError{.code = ENOSPC, .syscall = "quotactl"};
  });
}

}  // namespace

void RegisterQuota(Napi::Object exports) {
  Export(exports, "hasQuotactlFd", HasQuotactlFdNow);
  Export(exports, "fsgetxattr", Fsgetxattr);
  Export(exports, "fssetxattr", Fssetxattr);
  Export(exports, "quotactlState", QuotactlState);
  Export(exports, "quotactlGet", QuotactlGet);
  Export(exports, "quotactlSet", QuotactlSet);
  Export(exports, "quotactlFindFree", QuotactlFindFree);
}

}  // namespace overlaid
