// CRC-64 with the ISO 3309 polynomial, as Go's hash/crc64 computes it and tar-split records it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace overlaid {

// Continues `crc`, 0 at the start, with `size` bytes.
uint64_t UpdateCrc64(uint64_t crc, const unsigned char* data, size_t size);

}  // namespace overlaid
