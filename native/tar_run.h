// Runs of plain members of a tar, read at once. What is not plain is left to lib/tar/scanner.ts,
// which alone says what is wrong with an archive: here nothing is an error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace overlaid {

// A member as lib/tar/plain-run.ts reads it: 20 words of 32 bits. Offsets are in the chunk, those
// of names in the names.
struct PlainMember {
  uint32_t header_start;  // of its extension header, where it has one
  uint32_t body_start;
  uint32_t size;
  uint32_t type;  // the flag's character: '0', '1', '2' or '5'
  uint32_t mode, uid, gid;
  uint32_t mtime_low, mtime_high, mtime_nsec;
  uint32_t name_start, name_length;      // as in the archive
  uint32_t folder_start, folder_length;  // of the cleaned name
  uint32_t base_start, base_length;
  uint32_t link_start, link_length;
  uint32_t same_folder;  // as the member before
  uint32_t reserved;
};
static_assert(sizeof(PlainMember) == 80);

struct PlainRun {
  size_t members = 0;
  size_t names = 0;
  // Where the run ends in the chunk: a header's place.
  size_t end = 0;
};

// Reads plain members from `at` on, whole ones with their padding, as many as fit.
PlainRun ReadPlainRun(std::span<const unsigned char> chunk, size_t at,
                      std::span<PlainMember> members, std::span<char> names);

}  // namespace overlaid
