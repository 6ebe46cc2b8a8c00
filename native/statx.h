// statx(2) and its JavaScript form.
#pragma once

#include <napi.h>

#include "compat.h"
#include "result.h"

namespace overlaid {

Napi::Value ToJs(Napi::Env env, const sys::Statx& stat);

// The basic fields and the mount's id; errno as the system call leaves it. Returns 0 or -1.
int StatAt(int dirfd, const char* path, int flags, sys::Statx* stat);

}  // namespace overlaid
