// A mount that was just made and is in no mount table yet.
#pragma once

#include <sys/statfs.h>

#include "fd.h"
#include "result.h"
#include "to_js.h"

namespace overlaid {

// With what tells whether it is what was asked for, and which it is.
struct NewMount {
  Fd fd;
  struct statfs stat;
  uint64_t id;
};

Result<NewMount> Described(Fd fd);

Napi::Object ToJs(Napi::Env env, NewMount& mount);

}  // namespace overlaid
