// What a piece of work on a pool thread gives back: a value, or the system call that failed.
#pragma once

#include <cerrno>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace overlaid {

// The facts of a failed system call; error.cc alone turns them into a JavaScript Error.
struct SysError {
  int code;
  const char* syscall;
  std::optional<std::string> path = std::nullopt;
  std::optional<std::string> dest = std::nullopt;
  // The call's flag word, named in TypeScript.
  std::optional<uint64_t> flags = std::nullopt;
  // The file system context's messages, from fsopen's descriptor.
  std::vector<std::string> detail = {};
  // Of a batch: the step that failed.
  std::optional<uint32_t> index = std::nullopt;
};

// The value of work that has none.
struct Done {};

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(SysError error) : state_(std::in_place_index<1>, std::move(error)) {}

  explicit operator bool() const { return state_.index() == 0; }
  T& operator*() { return *std::get_if<0>(&state_); }
  T* operator->() { return std::get_if<0>(&state_); }
  SysError& error() { return *std::get_if<1>(&state_); }

 private:
  std::variant<T, SysError> state_;
};

using Status = Result<Done>;

}  // namespace overlaid
