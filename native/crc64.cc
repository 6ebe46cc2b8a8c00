// CRC-64 as tar-split records it: Go's hash/crc64 with the ISO polynomial. The one function that is
// not a system call: in JavaScript it would need a bigint a byte.
#include <array>
#include <bit>
#include <cstring>

#include "args.h"
#include "register.h"

namespace overlaid {
namespace {

constexpr uint64_t kIsoPolynomial = 0xD800000000000000;  // reversed, as in hash/crc64
constexpr size_t kSlices = 8;

using Tables = std::array<std::array<uint64_t, 256>, kSlices>;

constexpr Tables MakeTables() {
  Tables tables{};
  for (uint64_t byte = 0; byte < 256; byte++) {
    uint64_t crc = byte;
    for (int bit = 0; bit < 8; bit++) crc = (crc & 1) != 0 ? (crc >> 1) ^ kIsoPolynomial : crc >> 1;
    tables[0][byte] = crc;
  }
  for (size_t slice = 1; slice < kSlices; slice++) {
    for (size_t byte = 0; byte < 256; byte++) {
      const uint64_t crc = tables[slice - 1][byte];
      tables[slice][byte] = tables[0][crc & 0xff] ^ (crc >> 8);
    }
  }
  return tables;
}

constexpr Tables kTables = MakeTables();

// Slicing-by-8: one table look-up a byte, but eight of them independent of each other.
uint64_t Update(uint64_t crc, const unsigned char* data, size_t size) {
  static_assert(std::endian::native == std::endian::little);
  crc = ~crc;
  for (; size >= kSlices; data += kSlices, size -= kSlices) {
    uint64_t word = 0;
    std::memcpy(&word, data, sizeof word);
    crc ^= word;
    uint64_t next = 0;
    for (size_t i = 0; i < kSlices; i++) next ^= kTables[kSlices - 1 - i][(crc >> (8 * i)) & 0xff];
    crc = next;
  }
  for (; size > 0; data++, size--) crc = kTables[0][(crc ^ *data) & 0xff] ^ (crc >> 8);
  return ~crc;
}

Napi::Value Crc64(const Napi::CallbackInfo& info) {
  Args args(info);
  const auto state = args.View("state");
  const auto data = args.View("data");
  if (!args.Failed() && state.second != sizeof(uint64_t)) args.Fail("state", "8 bytes long");
  if (args.Failed()) return args.Throw();
  auto* bytes = reinterpret_cast<unsigned char*>(state.first);
  uint64_t crc = 0;
  for (size_t i = 0; i < 8; i++) crc = crc << 8 | bytes[i];
  crc = Update(crc, reinterpret_cast<const unsigned char*>(data.first), data.second);
  for (size_t i = 0; i < 8; i++) bytes[i] = static_cast<unsigned char>(crc >> (56 - 8 * i));
  return info.Env().Undefined();
}

}  // namespace

void RegisterCrc64(Napi::Object exports) { Export(exports, "crc64", Crc64); }

}  // namespace overlaid
