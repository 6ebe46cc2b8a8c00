// One fsconfig(2) call, and what its context had to say.
#pragma once

#include <string>
#include <vector>

#include "compat.h"
#include "result.h"

namespace overlaid {

struct ConfigCall {
  int fd;
  unsigned command;
  const char* key;
  const char* value;
  int aux;
};

// On failure the error's path is the key, its dest the value, and its detail the context's
// messages.
Status Fsconfig(const ConfigCall& call);

// The messages of a context since the last look.
std::vector<std::string> ContextLog(int fd);

}  // namespace overlaid
