// The content of regular files, one after another.
#pragma once

#include <atomic>

#include "compat.h"
#include "result.h"

namespace overlaid {

inline SysError Cancelled() { return {.code = ECANCELED, .syscall = "copyTree"}; }

class ContentCopy {
 public:
  explicit ContentCopy(const std::atomic<bool>& cancelled) : cancelled_(cancelled) {}

  // Makes the new file `out` what `in` is, blocks shared where that can be, holes kept. ECANCELED
  // some time after the flag was set.
  Status Copy(int in, int out, const sys::Statx& stat);

 private:
  bool Clone(int in, int out);

  const std::atomic<bool>& cancelled_;
  bool clones_ = true;
};

}  // namespace overlaid
