// The lines of a tar-split record for a run of plain members.
#pragma once

#include <span>
#include <string_view>

#include "tar_run.h"

namespace overlaid {

struct SplitRun {
  std::span<const unsigned char> chunk;
  std::span<const PlainMember> members;
  std::string_view names;
  // Where the body before the first member ended: from there on all is the first one's segment.
  size_t previous_end = 0;
  // Of the first line.
  uint64_t position = 0;
};

// Whether all offsets lie where they should, each member after the one before.
bool IsSound(const SplitRun& run);

// How much the lines take at most.
size_t SplitLinesBound(const SplitRun& run);

// Writes two lines a member, bytes and file, to `out`, which has room. Gives how much it wrote.
size_t WriteSplitLines(const SplitRun& run, char* out);

}  // namespace overlaid
