// The sums of a layer's archive, off the main thread: sha256 of all of it (the diffID) and CRC-64
// of each body (tar-split's). sha256 is the one that Node brings along.
#include <dlfcn.h>

#include <array>
#include <atomic>
#include <memory>

#include "args.h"
#include "crc64.h"
#include "job.h"
#include "register.h"

namespace overlaid {
namespace {

// OpenSSL 3's EVP functions, found in the process. Node exports them for addons (Node.js, "C++
// addons", "Linking to libraries included with Node.js"); a Node without OpenSSL has none.
struct Evp {
  void* (*context_new)() = nullptr;
  void (*context_free)(void*) = nullptr;
  const void* (*sha256)() = nullptr;
  int (*init)(void*, const void*, void*) = nullptr;
  int (*update)(void*, const void*, size_t) = nullptr;
  int (*final)(void*, unsigned char*, unsigned*) = nullptr;

  explicit operator bool() const {
    return context_new && context_free && sha256 && init && update && final;
  }
};

template <typename Function>
void Find(Function& function, const char* name) {
  function = reinterpret_cast<Function>(dlsym(RTLD_DEFAULT, name));
}

const Evp& FindEvp() {
  static const Evp evp = [] {
    Evp found;
    Find(found.context_new, "EVP_MD_CTX_new");
    Find(found.context_free, "EVP_MD_CTX_free");
    Find(found.sha256, "EVP_sha256");
    Find(found.init, "EVP_DigestInit_ex");
    Find(found.update, "EVP_DigestUpdate");
    Find(found.final, "EVP_DigestFinal_ex");
    return found;
  }();
  return evp;
}

constexpr size_t kSha256Bytes = 32;
constexpr size_t kCrcBytes = 8;

class Sums {
 public:
  // Null where there is no sha256.
  static std::unique_ptr<Sums> Make() {
    const auto& evp = FindEvp();
    if (!evp) return nullptr;
    auto sums = std::unique_ptr<Sums>(new Sums(evp));
    if (sums->context_ == nullptr || evp.init(sums->context_, evp.sha256(), nullptr) != 1)
      return nullptr;
    return sums;
  }
  Sums(const Sums&) = delete;
  Sums& operator=(const Sums&) = delete;
  ~Sums() { evp_.context_free(context_); }

  bool Hash(const unsigned char* data, size_t size) {
    return evp_.update(context_, data, size) == 1;
  }

  // The CRC so far of the body that `data` begins or, with `continues`, goes on with.
  uint64_t Crc(const unsigned char* data, size_t size, bool continues) {
    crc_ = UpdateCrc64(continues ? crc_ : 0, data, size);
    return crc_;
  }

  std::optional<std::array<unsigned char, kSha256Bytes>> Digest() {
    std::array<unsigned char, kSha256Bytes> digest{};
    if (done_ || evp_.final(context_, digest.data(), nullptr) != 1) return std::nullopt;
    done_ = true;
    return digest;
  }

  // Set while a job works with it.
  std::atomic<bool> busy = false;

 private:
  explicit Sums(const Evp& evp) : evp_(evp), context_(evp.context_new()) {}

  const Evp& evp_;
  void* context_;
  uint64_t crc_ = 0;
  bool done_ = false;
};

using Shared = std::shared_ptr<Sums>;

Napi::Value SumsNew(const Napi::CallbackInfo& info) {
  Shared sums = Sums::Make();
  if (!sums) return info.Env().Undefined();
  return Napi::External<Shared>::New(info.Env(), new Shared(std::move(sums)),
                                     [](Napi::Env /*env*/, Shared* held) { delete held; });
}

Shared SumsOf(Args& args) {
  const auto value = args.Next();
  if (value.IsExternal()) return *value.As<Napi::External<Shared>>().Data();
  args.Fail("sums", "what sumsNew gave");
  return nullptr;
}

// Offsets of the bodies' parts, start and end in turn, inside of `size` bytes.
std::vector<size_t> RangesOf(Args& args, size_t size) {
  const auto value = args.Next();
  std::vector<size_t> ranges;
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint32_array) {
    args.Fail("ranges", "a Uint32Array");
    return ranges;
  }
  const auto offsets = value.As<Napi::Uint32Array>();
  for (size_t i = 0; i < offsets.ElementLength(); i++) {
    const size_t least = i % 2 == 0 ? 0 : ranges.back();
    if (offsets[i] < least || offsets[i] > size) args.Fail("ranges", "inside the data");
    ranges.push_back(offsets[i]);
  }
  if (ranges.size() % 2 != 0) args.Fail("ranges", "of even length");
  return ranges;
}

class Update {
 public:
  Update(Shared sums, const unsigned char* data, size_t from, size_t size,
         std::vector<size_t> ranges, bool continues)
      : sums_(std::move(sums)),
        data_(data),
        from_(from),
        size_(size),
        ranges_(std::move(ranges)),
        continues_(continues) {
    sums_->busy = true;
  }

  Result<ByteString> Run() {
    auto crcs = Sum();
    sums_->busy = false;
    return crcs;
  }

 private:
  Result<ByteString> Sum() {
    if (!sums_->Hash(data_ + from_, size_ - from_))
      return SysError{.code = EIO, .syscall = "sha256"};
    ByteString crcs;
    for (size_t i = 0; i + 1 < ranges_.size(); i += 2) {
      const size_t length = ranges_[i + 1] - ranges_[i];
      const auto crc = sums_->Crc(data_ + ranges_[i], length, continues_ && i == 0);
      for (size_t byte = 0; byte < kCrcBytes; byte++)
        crcs.bytes.push_back(static_cast<char>(crc >> (56 - 8 * byte)));
    }
    return crcs;
  }

  Shared sums_;
  const unsigned char* data_;
  size_t from_, size_;
  std::vector<size_t> ranges_;
  bool continues_;
};

Napi::Value SumsUpdate(const Napi::CallbackInfo& info) {
  Args args(info);
  auto sums = SumsOf(args);
  const auto data = args.Next();
  const auto [bytes, size] = args.View(data, "data");
  const auto from = args.Integer<uint32_t>("from");
  if (from > size) args.Fail("from", "inside the data");
  auto ranges = RangesOf(args, size);
  const bool continues = args.Next().ToBoolean();
  if (sums && sums->busy) args.Fail("sums", "idle: one update at a time");
  if (args.Failed()) return args.Throw();
  Update update(std::move(sums), reinterpret_cast<const unsigned char*>(bytes), from, size,
                std::move(ranges), continues);
  return RunJob(
      info.Env(), "sums", [update = std::move(update)]() mutable { return update.Run(); },
      data.As<Napi::Object>());
}

Napi::Value SumsDigest(const Napi::CallbackInfo& info) {
  Args args(info);
  auto sums = SumsOf(args);
  if (sums && sums->busy) args.Fail("sums", "idle");
  if (args.Failed()) return args.Throw();
  const auto digest = sums->Digest();
  if (!digest) args.Fail("sums", "without a digest yet");
  if (args.Failed()) return args.Throw();
  return Napi::Buffer<unsigned char>::Copy(info.Env(), digest->data(), digest->size());
}

}  // namespace

void RegisterSums(Napi::Object exports) {
  Export(exports, "sumsNew", SumsNew);
  Export(exports, "sumsUpdate", SumsUpdate);
  Export(exports, "sumsDigest", SumsDigest);
}

}  // namespace overlaid
