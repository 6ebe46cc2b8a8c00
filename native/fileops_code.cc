// Reads the code of fileops. It is checked to the last byte: whatever it says, nothing is read
// outside of it or of the buffers.
#include <cmath>
#include <cstring>
#include <optional>

#include "fileops.h"

namespace overlaid {
namespace {

constexpr size_t kFixed = 64;

// A cursor in one operation's bytes.
class Fields {
 public:
  explicit Fields(std::span<const uint8_t> bytes) : bytes_(bytes) {}

  template <typename T>
  T Take() {
    T value{};
    if (!Fits(sizeof value)) return value;
    std::memcpy(&value, &bytes_[at_], sizeof value);
    at_ += sizeof value;
    return value;
  }

  std::string_view Bytes(size_t length) {
    if (!Fits(length)) return {};
    const std::string_view text(reinterpret_cast<const char*>(bytes_.data()) + at_, length);
    at_ += length;
    return text;
  }

  // With a NUL after it and none in it.
  std::string_view Text(size_t length) {
    const auto text = Bytes(length);
    if (Take<uint8_t>() != 0 || text.find('\0') != std::string_view::npos) good_ = false;
    return text;
  }

  // Whole numbers as JavaScript has them.
  int64_t Integer() {
    const auto number = Take<double>();
    constexpr double kSafe = 9007199254740991.0;
    if (std::nearbyint(number) == number && std::abs(number) <= kSafe)
      return static_cast<int64_t>(number);
    good_ = false;
    return 0;
  }

  bool good() const { return good_; }

 private:
  bool Fits(size_t length) {
    good_ = good_ && length <= bytes_.size() - at_;
    return good_;
  }

  std::span<const uint8_t> bytes_;
  size_t at_ = 0;
  bool good_ = true;
};

std::optional<iovec> DataOf(Fields& fields, std::span<const iovec> buffers) {
  const auto index = fields.Take<uint32_t>();
  const auto offset = fields.Take<uint32_t>();
  const auto length = fields.Take<uint32_t>();
  if (!fields.good() || index >= buffers.size()) return std::nullopt;
  const auto& buffer = buffers[index];
  if (offset > buffer.iov_len || length > buffer.iov_len - offset) return std::nullopt;
  return iovec{.iov_base = static_cast<char*>(buffer.iov_base) + offset, .iov_len = length};
}

}  // namespace

bool OpDecoder::Next(FileOp& op) {
  if (failed_ || at_ == code_.size()) return false;
  uint32_t length = 0;
  if (code_.size() - at_ < kFixed) return Fail();
  std::memcpy(&length, &code_[at_], sizeof length);
  if (length < kFixed || length % 8 != 0 || length > code_.size() - at_) return Fail();
  Fields fields(code_.subspan(at_, length));
  at_ += length;

  fields.Take<uint32_t>();
  const auto kind = fields.Take<uint8_t>();
  op.flags = fields.Take<uint8_t>();
  const auto xattrs = fields.Take<uint16_t>();
  if (kind >= static_cast<uint8_t>(FileOp::Kind::kCount)) return Fail();
  op.kind = static_cast<FileOp::Kind>(kind);
  op.mode = fields.Take<uint32_t>();
  op.uid = fields.Take<uint32_t>();
  op.gid = fields.Take<uint32_t>();
  op.mtime.tv_nsec = fields.Take<uint32_t>();
  op.mtime.tv_sec = fields.Integer();
  op.offset = fields.Integer();
  if (op.offset < 0) return Fail();
  op.major_number = fields.Take<uint32_t>();
  op.minor_number = fields.Take<uint32_t>();
  const auto path_length = fields.Take<uint32_t>();
  const auto target_length = fields.Take<uint32_t>();
  const auto pieces = fields.Take<uint32_t>();
  fields.Take<uint32_t>();

  op.data.clear();
  for (uint32_t i = 0; i < pieces; i++) {
    const auto data = DataOf(fields, buffers_);
    if (!data) return Fail();
    if (data->iov_len > 0) op.data.push_back(*data);
  }
  op.path = fields.Text(path_length);
  op.target = fields.Text(target_length);
  op.xattrs.clear();
  for (uint32_t i = 0; i < xattrs && fields.good(); i++) {
    const auto name_length = fields.Take<uint32_t>();
    const auto value_length = fields.Take<uint32_t>();
    op.xattrs.push_back(fields.Text(name_length));
    op.xattrs.push_back(fields.Bytes(value_length));
  }
  return fields.good() || Fail();
}

}  // namespace overlaid
