// The only place that makes a JavaScript Error of a failed system call.
#pragma once

#include <napi.h>

#include "result.h"

namespace overlaid {

// An Error with Node's own fields (code, negative errno, syscall, path, dest), plus flags, detail
// and index.
Napi::Error ToError(Napi::Env env, const SysError& error);

}  // namespace overlaid
