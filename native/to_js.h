// ToJs overloads of the plain values; a record's overload stands beside the record.
#pragma once

#include <napi.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fd.h"
#include "result.h"

namespace overlaid {

// A string of bytes that becomes a Buffer: names, link targets and values need not be UTF-8.
struct ByteString {
  std::string bytes;
};

// A number and not a BigInt: no file is too long for one.
struct ByteCount {
  uint64_t bytes;
};

inline Napi::Value ToJs(Napi::Env env, const Done&) { return env.Undefined(); }
inline Napi::Value ToJs(Napi::Env env, bool value) { return Napi::Boolean::New(env, value); }
inline Napi::Value ToJs(Napi::Env env, uint64_t value) { return Napi::BigInt::New(env, value); }
inline Napi::Value ToJs(Napi::Env env, const ByteCount& count) {
  return Napi::Number::New(env, static_cast<double>(count.bytes));
}
inline Napi::Value ToJs(Napi::Env env, const std::string& value) {
  return Napi::String::New(env, value);
}
inline Napi::Value ToJs(Napi::Env env, const ByteString& value) {
  return Napi::Buffer<char>::Copy(env, value.bytes.data(), value.bytes.size());
}
// The descriptor is JavaScript's from here on.
inline Napi::Value ToJs(Napi::Env env, Fd& fd) { return Napi::Number::New(env, fd.Release()); }

template <typename T>
Napi::Value ToJs(Napi::Env env, std::optional<T>& value) {
  return value ? ToJs(env, *value) : env.Undefined();
}

template <typename T>
Napi::Value ToJs(Napi::Env env, const std::vector<T>& values) {
  auto array = Napi::Array::New(env, values.size());
  for (uint32_t i = 0; i < values.size(); i++) array.Set(i, ToJs(env, values[i]));
  return array;
}

}  // namespace overlaid
