#include "error.h"

#include <uv.h>

#include <array>

namespace overlaid {
namespace {

// `ENOENT: no such file or directory, umount2 '/a' -> '/b'`, as node:fs words it.
std::string Message(const SysError& error, const char* code, const char* text) {
  std::string message = std::string(code) + ": " + text + ", " + error.syscall;
  if (error.path) message += " '" + *error.path + "'";
  if (error.dest) message += " -> '" + *error.dest + "'";
  return message;
}

Napi::Array Lines(Napi::Env env, const std::vector<std::string>& lines) {
  auto array = Napi::Array::New(env, lines.size());
  for (uint32_t i = 0; i < lines.size(); i++) array.Set(i, Napi::String::New(env, lines[i]));
  return array;
}

}  // namespace

Napi::Error ToError(Napi::Env env, const SysError& error) {
  std::array<char, 64> code{};
  std::array<char, 128> text{};
  uv_err_name_r(-error.code, code.data(), code.size());
  uv_strerror_r(-error.code, text.data(), text.size());
  // The one errno of ours that libuv has no name for.
  if (error.code == EDQUOT) {
    code = {"EDQUOT"};
    text = {"disk quota exceeded"};
  }
  auto result = Napi::Error::New(env, Message(error, code.data(), text.data()));
  auto object = result.Value();
  // Empty while the environment is being torn down.
  if (object.IsEmpty()) return result;
  object.Set("code", code.data());
  object.Set("errno", -error.code);
  object.Set("syscall", error.syscall);
  if (error.path) object.Set("path", *error.path);
  if (error.dest) object.Set("dest", *error.dest);
  if (error.flags) object.Set("flags", static_cast<double>(*error.flags));
  if (!error.detail.empty()) object.Set("detail", Lines(env, error.detail));
  if (error.index) object.Set("index", *error.index);
  return result;
}

}  // namespace overlaid
