// The device mapper's calls: one ioctl each of /dev/mapper/control, whose name is the error's
// `syscall`. Names are those of mapped devices.
#include <linux/dm-ioctl.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include <cstring>

#include "args.h"
#include "compat.h"
#include "job.h"
#include "register.h"

namespace overlaid {

// In this namespace, so that Job finds its ToJs.
struct DeviceNumber {
  unsigned major;
  unsigned minor;
};

static Napi::Value ToJs(Napi::Env env, const DeviceNumber& device) {
  auto object = Napi::Object::New(env);
  object.Set("major", device.major);
  object.Set("minor", device.minor);
  return object;
}

namespace {

// What udev's rules for mapped devices read in the upper half of the event number (libdevmapper.h):
// no links by label or UUID, which are many layers' alike, and nobody opens the device to look.
constexpr uint32_t kUdevQuiet = (0x02 | 0x04 | 0x08 | 0x40) << 16;

constexpr size_t kPage = 4096;
constexpr size_t kMostPayload = size_t{1} << 24;

// A request and its payload, in one piece of memory.
class Request {
 public:
  Request(const std::string& name, size_t payload)
      : name_(name), bytes_(sizeof(dm_ioctl) + payload) {
    auto& head = Head();
    // The kernel serves those of the same major version.
    head.version[0] = 4;
    head.data_size = static_cast<uint32_t>(bytes_.size());
    head.data_start = sizeof(dm_ioctl);
    name.copy(head.name, sizeof head.name - 1);
  }

  dm_ioctl& Head() { return *reinterpret_cast<dm_ioctl*>(bytes_.data()); }
  char* Payload() { return bytes_.data() + sizeof(dm_ioctl); }

  Status Send(int fd, unsigned long request, const char* syscall) {
    if (name_.size() >= DM_NAME_LEN) {
      return SysError{.code = ENAMETOOLONG, .syscall = syscall, .path = name_};
    }
    if (RetryEintr([&] { return ioctl(fd, request, bytes_.data()); }) == 0) return Done{};
    return SysError{.code = errno, .syscall = syscall, .path = name_};
  }

  // What the kernel gave back.
  const char* Answer() { return bytes_.data() + std::min<size_t>(Head().data_start, Size()); }
  size_t AnswerSize() { return Size() - std::min<size_t>(Head().data_start, Size()); }
  bool IsFull() { return (Head().flags & DM_BUFFER_FULL_FLAG) != 0; }

 private:
  size_t Size() { return std::min<size_t>(Head().data_size, bytes_.size()); }

  std::string name_;
  std::vector<char> bytes_;
};

// Asks with more and more room for the answer; `read` gets the request that had enough.
template <typename T, typename Read>
Result<T> Ask(int fd, const std::string& name, unsigned long call, const char* syscall, Read read) {
  for (size_t room = 4 * kPage; room <= kMostPayload; room *= 4) {
    Request request(name, room);
    if (auto sent = request.Send(fd, call, syscall); !sent) return sent.error();
    if (!request.IsFull()) return read(request);
  }
  return SysError{.code = ENOBUFS, .syscall = syscall, .path = name};
}

Result<DeviceNumber> DevCreate(int fd, const std::string& name) {
  Request request(name, 0);
  auto sent = request.Send(fd, DM_DEV_CREATE, "DM_DEV_CREATE");
  if (!sent) return sent.error();
  const auto device = static_cast<dev_t>(request.Head().dev);
  return DeviceNumber{.major = major(device), .minor = minor(device)};
}

struct Target {
  std::string type;
  uint64_t sectors;
  std::string parameters;
  bool read_only;
};

// A table of one target.
Status TableLoad(int fd, const std::string& name, const Target& target) {
  constexpr const char* kCall = "DM_TABLE_LOAD";
  if (target.type.size() >= DM_MAX_TYPE_NAME) {
    return SysError{.code = ENAMETOOLONG, .syscall = kCall, .path = target.type};
  }
  // The parameters end with a NUL, and the next target would begin at a multiple of 8.
  const size_t length = (sizeof(dm_target_spec) + target.parameters.size() + 8) / 8 * 8;
  Request request(name, length);
  request.Head().target_count = 1;
  request.Head().flags = target.read_only ? DM_READONLY_FLAG : 0;
  dm_target_spec spec{};
  spec.length = target.sectors;
  spec.next = static_cast<uint32_t>(length);
  target.type.copy(spec.target_type, sizeof spec.target_type - 1);
  std::memcpy(request.Payload(), &spec, sizeof spec);
  target.parameters.copy(request.Payload() + sizeof spec, target.parameters.size());
  return request.Send(fd, DM_TABLE_LOAD, kCall);
}

// DM_DEV_SUSPEND without its flag: the table that was loaded comes into use.
Status DevResume(int fd, const std::string& name) {
  Request request(name, 0);
  request.Head().event_nr = kUdevQuiet;
  return request.Send(fd, DM_DEV_SUSPEND, "DM_DEV_SUSPEND");
}

Status DevRemove(int fd, const std::string& name, bool deferred) {
  Request request(name, 0);
  request.Head().event_nr = kUdevQuiet;
  request.Head().flags = deferred ? DM_DEFERRED_REMOVE : 0;
  return request.Send(fd, DM_DEV_REMOVE, "DM_DEV_REMOVE");
}

Result<std::string> TableStatus(int fd, const std::string& name) {
  return Ask<std::string>(fd, name, DM_TABLE_STATUS, "DM_TABLE_STATUS", [](Request& request) {
    const size_t size = request.AnswerSize();
    if (request.Head().target_count == 0 || size <= sizeof(dm_target_spec)) return std::string();
    const char* text = request.Answer() + sizeof(dm_target_spec);
    return std::string(text, strnlen(text, size - sizeof(dm_target_spec)));
  });
}

Result<std::vector<std::string>> ListDevices(int fd) {
  using Names = std::vector<std::string>;
  return Ask<Names>(fd, "", DM_LIST_DEVICES, "DM_LIST_DEVICES", [](Request& request) {
    constexpr size_t kName = offsetof(dm_name_list, name);
    Names names;
    const size_t size = request.AnswerSize();
    for (size_t at = 0; at + kName < size;) {
      dm_name_list entry{};
      std::memcpy(&entry, request.Answer() + at, kName);
      // Without devices the list is one entry without a number.
      if (entry.dev == 0) break;
      const char* name = request.Answer() + at + kName;
      names.emplace_back(name, strnlen(name, size - at - kName));
      if (entry.next == 0) break;
      at += entry.next;
    }
    return names;
  });
}

Napi::Value DmGetTargetVersion(const Napi::CallbackInfo& info) {
  Args args(info);
  const int fd = args.FdNumber("fd");
  auto type = args.Path("type");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "devmapper", [=] {
    Request request(type, kPage);
    return request.Send(fd, sys::kDmGetTargetVersion, "DM_GET_TARGET_VERSION");
  });
}

Napi::Value DmListDevices(const Napi::CallbackInfo& info) {
  Args args(info);
  const int fd = args.FdNumber("fd");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "devmapper", [=] { return ListDevices(fd); });
}

// A call whose arguments are a descriptor and a name.
template <auto Work>
Napi::Value CallOnName(const Napi::CallbackInfo& info) {
  Args args(info);
  const int fd = args.FdNumber("fd");
  auto name = args.Path("name");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "devmapper", [=] { return Work(fd, name); });
}

Napi::Value DmTableLoad(const Napi::CallbackInfo& info) {
  Args args(info);
  const int fd = args.FdNumber("fd");
  auto name = args.Path("name");
  const auto options = args.Object("target");
  const Target target{
      .type = args.PathOf(args.Member(options, "type"), "type"),
      .sectors = args.IntegerOf<uint64_t>(args.Member(options, "sectors"), "sectors"),
      .parameters = args.PathOf(args.Member(options, "parameters"), "parameters"),
      .read_only = args.Flag(options, "readOnly")};
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "devmapper", [=] { return TableLoad(fd, name, target); });
}

Napi::Value DmDevRemove(const Napi::CallbackInfo& info) {
  Args args(info);
  const int fd = args.FdNumber("fd");
  auto name = args.Path("name");
  const bool deferred = args.Flag(args.Object("options"), "deferred");
  if (args.Failed()) return args.Throw();
  return RunJob(info.Env(), "devmapper", [=] { return DevRemove(fd, name, deferred); });
}

}  // namespace

void RegisterDevmapper(Napi::Object exports) {
  Export(exports, "dmGetTargetVersion", DmGetTargetVersion);
  Export(exports, "dmListDevices", DmListDevices);
  Export(exports, "dmDevCreate", CallOnName<DevCreate>);
  Export(exports, "dmTableLoad", DmTableLoad);
  Export(exports, "dmTableStatus", CallOnName<TableStatus>);
  Export(exports, "dmDevResume", CallOnName<DevResume>);
  Export(exports, "dmDevRemove", DmDevRemove);
}

}  // namespace overlaid
