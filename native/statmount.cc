// statmount(2) and listmount(2) of 6.8: one mount by its unique id, no text to parse and no races.
#include <array>
#include <memory>

#include "args.h"
#include "compat.h"
#include "job.h"
#include "register.h"

namespace overlaid {

// The members of lib/native/binding.ts' MountInfo.
struct MountRecord {
  uint64_t id, parent_id;
  std::string fs_type, mount_point, root, source, options, super_options;
};

static Napi::Value ToJs(Napi::Env env, const MountRecord& mount) {
  auto object = Napi::Object::New(env);
  object.Set("id", Napi::BigInt::New(env, mount.id));
  object.Set("parentID", Napi::BigInt::New(env, mount.parent_id));
  object.Set("fsType", mount.fs_type);
  object.Set("mountPoint", ToJs(env, ByteString{mount.mount_point}));
  object.Set("root", ToJs(env, ByteString{mount.root}));
  object.Set("source", mount.source);
  object.Set("options", mount.options);
  object.Set("superOptions", mount.super_options);
  return object;
}

namespace {

constexpr uint64_t kSuperReadOnly = 1;  // SB_RDONLY
constexpr uint64_t kMaskAll = sys::kStatmountSbBasic | sys::kStatmountMntBasic |
                              sys::kStatmountMntRoot | sys::kStatmountMntPoint |
                              sys::kStatmountFsType | sys::kStatmountMntOpts |
                              sys::kStatmountSbSource;

struct AttributeName {
  uint64_t bit;
  const char* name;
};
// MOUNT_ATTR_* as mountinfo words them, in its order.
constexpr std::array kAttributes{
    AttributeName{0x2, "nosuid"},      AttributeName{0x4, "nodev"},
    AttributeName{0x8, "noexec"},      AttributeName{0x10, "noatime"},
    AttributeName{0x80, "nodiratime"}, AttributeName{0x200000, "nosymfollow"}};

std::string OptionWords(uint64_t attributes) {
  std::string words = (attributes & 1) != 0 ? "ro" : "rw";
  for (const auto& attribute : kAttributes) {
    if ((attributes & attribute.bit) != 0) words += std::string(",") + attribute.name;
  }
  return words;
}

MountRecord ToRecord(const sys::Statmount& mount) {
  const char* text = reinterpret_cast<const char*>(&mount) + sizeof mount;
  const auto field = [&](uint64_t bit, uint32_t offset) -> std::string {
    return (mount.mask & bit) != 0 ? text + offset : "";
  };
  MountRecord record{.id = mount.mnt_id,
                     .parent_id = mount.mnt_parent_id,
                     .fs_type = field(sys::kStatmountFsType, mount.fs_type),
                     .mount_point = field(sys::kStatmountMntPoint, mount.mnt_point),
                     .root = field(sys::kStatmountMntRoot, mount.mnt_root),
                     .source = field(sys::kStatmountSbSource, mount.sb_source),
                     .options = OptionWords(mount.mnt_attr),
                     .super_options = (mount.sb_flags & kSuperReadOnly) != 0 ? "ro" : "rw"};
  const auto options = field(sys::kStatmountMntOpts, mount.mnt_opts);
  if (!options.empty()) record.super_options += "," + options;
  return record;
}

Result<MountRecord> StatMount(uint64_t id) {
  const sys::MntIdReq request{.size = 24, .spare = 0, .mnt_id = id, .param = kMaskAll};
  for (size_t size = size_t{16} * 1024; size <= size_t{16} * 1024 * 1024; size *= 2) {
    auto buffer = std::make_unique<uint64_t[]>(size / sizeof(uint64_t));
    if (syscall(sys::kStatmount, &request, buffer.get(), size, 0) == 0) {
      return ToRecord(*reinterpret_cast<sys::Statmount*>(buffer.get()));
    }
    if (errno != EOVERFLOW) break;
  }
  return SysError{.code = errno, .syscall = "statmount", .path = std::to_string(id)};
}

Result<std::vector<uint64_t>> ListMounts(uint64_t id) {
  constexpr size_t kBatch = 256;
  std::vector<uint64_t> ids;
  sys::MntIdReq request{.size = 24, .spare = 0, .mnt_id = id, .param = 0};
  for (;;) {
    std::array<uint64_t, kBatch> batch{};
    const auto count = syscall(sys::kListmount, &request, batch.data(), batch.size(), 0);
    if (count < 0) {
      return SysError{.code = errno, .syscall = "listmount", .path = std::to_string(id)};
    }
    ids.insert(ids.end(), batch.begin(), batch.begin() + count);
    if (static_cast<size_t>(count) < kBatch) return ids;
    request.param = ids.back();  // goes on after this one
  }
}

Napi::Value Statmount(const Napi::CallbackInfo& info) {
  Args args(info);
  const auto id = args.BigInt("mountID");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "statmount", [id] { return StatMount(id); });
}

Napi::Value Listmount(const Napi::CallbackInfo& info) {
  Args args(info);
  const auto id = args.BigInt("mountID");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "listmount", [id] { return ListMounts(id); });
}

}  // namespace

void RegisterStatmount(Napi::Object exports) {
  Export(exports, "statmount", Statmount);
  Export(exports, "listmount", Listmount);
}

}  // namespace overlaid
