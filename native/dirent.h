// Reading what names are: getdents64(2) as bytes and types, readlinkat(2).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "result.h"

namespace overlaid {

struct Dirent {
  std::string name;
  uint8_t type;
  uint64_t ino;
};

// All entries but `.` and `..` from the descriptor's position on.
Result<std::vector<Dirent>> ReadDirectory(int fd);

// A symlink's target.
Result<std::string> ReadLink(int dirfd, const std::string& path);

}  // namespace overlaid
