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

// `crc` after `bits` zero bits.
constexpr uint64_t Advance(uint64_t crc, int bits) {
  for (int bit = 0; bit < bits; bit++)
    crc = (crc & 1) != 0 ? (crc >> 1) ^ kIsoPolynomial : crc >> 1;
  return crc;
}

// The polynomial is x^64 + x^4 + x^3 + x + 1, so a word moves on by 64 bits when it is multiplied
// by x^4 + x^3 + x + 1, by 128 when by the square of that. Reversed, x is a shift to the right;
// what falls out at the end depends on the lowest bits alone, and is looked up.
constexpr uint64_t Shifts64(uint64_t word) { return word ^ word >> 1 ^ word >> 3 ^ word >> 4; }
constexpr uint64_t Shifts128(uint64_t word) { return word ^ word >> 2 ^ word >> 6 ^ word >> 8; }

struct Tables {
  std::array<uint64_t, 256> byte{};
  std::array<uint64_t, 16> rest64{};
  std::array<uint64_t, 256> rest128{};
};

constexpr Tables MakeTables() {
  Tables tables{};
  for (uint64_t low = 0; low < 256; low++) {
    tables.byte[low] = Advance(low, 8);
    tables.rest128[low] = Advance(low, 128) ^ Shifts128(low);
    if (low < 16) tables.rest64[low] = Advance(low, 64) ^ Shifts64(low);
  }
  return tables;
}

constexpr Tables kTables = MakeTables();

uint64_t Advance64(uint64_t word) { return Shifts64(word) ^ kTables.rest64[word & 0xf]; }
uint64_t Advance128(uint64_t word) { return Shifts128(word) ^ kTables.rest128[word & 0xff]; }

uint64_t Update(uint64_t crc, const unsigned char* data, size_t size) {
  static_assert(std::endian::native == std::endian::little);
  crc = ~crc;
  // Two words at a time: the second one's part does not wait for the first one's.
  for (; size >= 16; data += 16, size -= 16) {
    std::array<uint64_t, 2> words{};
    std::memcpy(words.data(), data, sizeof words);
    crc = Advance128(crc ^ words[0]) ^ Advance64(words[1]);
  }
  for (; size > 0; data++, size--) crc = kTables.byte[(crc ^ *data) & 0xff] ^ (crc >> 8);
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
