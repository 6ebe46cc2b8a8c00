// CRC-64 as tar-split records it: Go's hash/crc64 with the ISO polynomial. The one function that is
// not a system call: in JavaScript it would need a bigint a byte.
#include "crc64.h"

#include <array>
#include <bit>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

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

uint64_t UpdateByWords(uint64_t crc, const unsigned char* data, size_t size) {
  static_assert(std::endian::native == std::endian::little);
  // Two words at a time: the second one's part does not wait for the first one's.
  for (; size >= 16; data += 16, size -= 16) {
    std::array<uint64_t, 2> words{};
    std::memcpy(words.data(), data, sizeof words);
    crc = Advance128(crc ^ words[0]) ^ Advance64(words[1]);
  }
  for (; size > 0; data++, size--) crc = kTables.byte[(crc ^ *data) & 0xff] ^ (crc >> 8);
  return crc;
}

#if defined(__x86_64__)

// x^n modulo the polynomial, reversed.
constexpr uint64_t Power(int n) { return Advance(uint64_t{1} << 63, n); }

// A carry-less product of two reversed words is the reversed product times x, so the factors that
// move a block on by n bits are x^(n-1), and x^(n+63) for its first word.
// @see Intel, "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction"
template <int kBits>
__attribute__((target("pclmul,sse4.1"))) __m128i Folded(__m128i block, __m128i next) {
  static constexpr uint64_t kFirst = Power(kBits + 63);
  static constexpr uint64_t kSecond = Power(kBits - 1);
  const auto factors = _mm_set_epi64x(static_cast<int64_t>(kSecond), static_cast<int64_t>(kFirst));
  const auto first = _mm_clmulepi64_si128(block, factors, 0x00);
  const auto second = _mm_clmulepi64_si128(block, factors, 0x11);
  return _mm_xor_si128(_mm_xor_si128(first, second), next);
}

__attribute__((target("pclmul,sse4.1"))) uint64_t UpdateByFolding(uint64_t crc,
                                                                  const unsigned char* data,
                                                                  size_t size) {
  const auto load = [&](size_t at) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(data + at));
  };
  __m128i a = _mm_xor_si128(load(0), _mm_cvtsi64_si128(static_cast<int64_t>(crc)));
  __m128i b = load(16);
  __m128i c = load(32);
  __m128i d = load(48);
  for (data += 64, size -= 64; size >= 64; data += 64, size -= 64) {
    a = Folded<512>(a, load(0));
    b = Folded<512>(b, load(16));
    c = Folded<512>(c, load(32));
    d = Folded<512>(d, load(48));
  }
  const auto all = Folded<128>(Folded<128>(Folded<128>(a, b), c), d);
  std::array<unsigned char, 16> rest{};
  std::memcpy(rest.data(), &all, rest.size());
  return UpdateByWords(UpdateByWords(0, rest.data(), rest.size()), data, size);
}

bool CanFold() {
  static const bool can = __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
  return can;
}

#else

bool CanFold() { return false; }
uint64_t UpdateByFolding(uint64_t crc, const unsigned char* data, size_t size) {
  return UpdateByWords(crc, data, size);
}

#endif

Napi::Value Crc64(const Napi::CallbackInfo& info) {
  Args args(info);
  const auto state = args.View("state");
  const auto data = args.View("data");
  if (!args.Failed() && state.second != sizeof(uint64_t)) args.Fail("state", "8 bytes long");
  if (args.Failed()) return args.Throw();
  auto* bytes = reinterpret_cast<unsigned char*>(state.first);
  uint64_t crc = 0;
  for (size_t i = 0; i < 8; i++) crc = crc << 8 | bytes[i];
  crc = UpdateCrc64(crc, reinterpret_cast<const unsigned char*>(data.first), data.second);
  for (size_t i = 0; i < 8; i++) bytes[i] = static_cast<unsigned char>(crc >> (56 - 8 * i));
  return info.Env().Undefined();
}

}  // namespace

uint64_t UpdateCrc64(uint64_t crc, const unsigned char* data, size_t size) {
  constexpr size_t kWorthIt = 128;
  const bool fold = size >= kWorthIt && CanFold();
  return ~(fold ? UpdateByFolding(~crc, data, size) : UpdateByWords(~crc, data, size));
}

void RegisterCrc64(Napi::Object exports) { Export(exports, "crc64", Crc64); }

}  // namespace overlaid
