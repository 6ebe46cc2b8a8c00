// Writes operations as lib/native/op-writer.ts does.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "../../../native/fileops.h"

struct Op {
  overlaid::FileOp::Kind kind;
  std::string path;
  std::string target = {};
  uint8_t flags = 0;
  uint32_t mode = 0, uid = 0, gid = 0;
  double offset = 0;
  // Pieces of buffer 0, each of so many bytes.
  std::vector<uint32_t> pieces = {};
  std::vector<std::pair<std::string, std::string>> xattrs = {};
};

inline std::vector<uint8_t> Encode(const std::vector<Op>& ops) {
  std::vector<uint8_t> code;
  const auto append = [&](const void* bytes, size_t size) {
    const auto* start = static_cast<const uint8_t*>(bytes);
    code.insert(code.end(), start, start + size);
  };
  const auto number = [&](auto value) { append(&value, sizeof value); };
  for (const auto& op : ops) {
    const size_t start = code.size();
    number(uint32_t{0});
    number(static_cast<uint8_t>(op.kind));
    number(op.flags);
    number(static_cast<uint16_t>(op.xattrs.size()));
    for (const uint32_t value : {op.mode, op.uid, op.gid, 5U}) number(value);
    number(double{1e9});
    number(op.offset);
    for (const size_t value :
         {size_t{0}, size_t{0}, op.path.size(), op.target.size(), op.pieces.size(), size_t{0}})
      number(static_cast<uint32_t>(value));
    for (const uint32_t length : op.pieces) {
      number(uint32_t{0});
      number(uint32_t{0});
      number(length);
    }
    append(op.path.c_str(), op.path.size() + 1);
    append(op.target.c_str(), op.target.size() + 1);
    for (const auto& [name, value] : op.xattrs) {
      number(static_cast<uint32_t>(name.size()));
      number(static_cast<uint32_t>(value.size()));
      append(name.c_str(), name.size() + 1);
      append(value.data(), value.size());
    }
    while (code.size() % 8 != 0) code.push_back(0);
    const auto length = static_cast<uint32_t>(code.size() - start);
    std::memcpy(&code[start], &length, sizeof length);
  }
  return code;
}
