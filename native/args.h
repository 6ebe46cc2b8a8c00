// Typed readers of a call's arguments. The first wrong one makes Throw() throw a TypeError,
// synchronously.
#pragma once

#include <napi.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>

namespace overlaid {

class Args {
 public:
  explicit Args(const Napi::CallbackInfo& info) : info_(info) {}

  // Bytes or a string without NUL.
  std::string Path(const char* name) { return PathOf(Next(), name); }

  std::string PathOf(Napi::Value value, const char* name) {
    std::string bytes = BytesOf(value, name);
    if (bytes.find('\0') != std::string::npos) Fail(name, "a path without NUL bytes");
    return bytes;
  }

  // Bytes or a string, whatever they hold.
  std::string BytesOf(Napi::Value value, const char* name) {
    if (value.IsString()) return value.As<Napi::String>().Utf8Value();
    const auto view = View(value, name);
    return view.second == 0 ? std::string() : std::string(view.first, view.second);
  }
  std::string Bytes(const char* name) { return BytesOf(Next(), name); }

  // A Uint8Array in place: valid while JavaScript keeps it.
  std::pair<char*, size_t> View(Napi::Value value, const char* name) {
    if (!value.IsTypedArray() ||
        value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
      Fail(name, "a string or a Uint8Array");
      return {nullptr, 0};
    }
    auto bytes = value.As<Napi::Uint8Array>();
    return {reinterpret_cast<char*>(bytes.Data()), bytes.ByteLength()};
  }
  std::pair<char*, size_t> View(const char* name) { return View(Next(), name); }

  std::string Text(const char* name) {
    const auto value = Next();
    if (value.IsString()) return value.As<Napi::String>().Utf8Value();
    Fail(name, "a string");
    return {};
  }

  // An integer that fits T.
  template <typename T>
  T IntegerOf(Napi::Value value, const char* name) {
    const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : NAN;
    constexpr double kSafe = 9007199254740991.0;
    const double low = std::max(static_cast<double>(std::numeric_limits<T>::min()), -kSafe);
    const double high = std::min(static_cast<double>(std::numeric_limits<T>::max()), kSafe);
    if (std::nearbyint(number) == number && number >= low && number <= high) {
      return static_cast<T>(number);
    }
    Fail(name, "an integer in range");
    return 0;
  }
  template <typename T>
  T Integer(const char* name) {
    return IntegerOf<T>(Next(), name);
  }
  int FdNumber(const char* name) { return Integer<int>(name); }

  uint64_t BigInt(const char* name) {
    const auto value = Next();
    bool lossless = false;
    const uint64_t number = value.IsBigInt() ? value.As<Napi::BigInt>().Uint64Value(&lossless) : 0;
    if (!lossless) Fail(name, "an unsigned 64-bit bigint");
    return number;
  }
  std::optional<uint64_t> OptionalBigInt(const char* name) {
    if (!info_[at_].IsUndefined()) return BigInt(name);
    Next();
    return std::nullopt;
  }

  Napi::Object Object(const char* name) { return ObjectOf(Next(), name); }
  Napi::Object ObjectOf(Napi::Value value, const char* name) {
    if (value.IsObject()) return value.As<Napi::Object>();
    Fail(name, "an object");
    return Napi::Object::New(info_.Env());
  }
  Napi::Array ArrayOf(Napi::Value value, const char* name) {
    if (value.IsArray()) return value.As<Napi::Array>();
    Fail(name, "an array");
    return Napi::Array::New(info_.Env());
  }
  Napi::Value Next() { return info_[at_++]; }

  // Reading a property runs JavaScript, which fails when a getter throws and in a worker thread
  // that is being terminated; what is empty then must reach no other call of napi's, which would
  // abort.
  Napi::Value Member(const Napi::Object& object, const char* name) {
    return Readable(object.Get(name), name);
  }
  Napi::Value Element(const Napi::Array& array, uint32_t index, const char* name) {
    return Readable(array.Get(index), name);
  }
  template <typename T>
  std::optional<T> Optional(const Napi::Object& object, const char* name) {
    const auto value = Member(object, name);
    if (value.IsUndefined()) return std::nullopt;
    return IntegerOf<T>(value, name);
  }
  bool Flag(const Napi::Object& object, const char* name) {
    const auto value = Member(object, name);
    if (value.IsBoolean()) return value.As<Napi::Boolean>().Value();
    if (!value.IsUndefined()) Fail(name, "a boolean");
    return false;
  }

  // Remembers the first thing that is wrong.
  void Fail(const char* name, const char* expected) {
    if (failure_.empty()) failure_ = std::string("\"") + name + "\" must be " + expected;
  }
  bool Failed() const { return !failure_.empty(); }
  Napi::Value Throw() const {
    if (info_.Env().IsExceptionPending()) return info_.Env().Undefined();
    auto error = Napi::TypeError::New(info_.Env(), failure_);
    error.Set("code", "ERR_INVALID_ARG_TYPE");
    error.ThrowAsJavaScriptException();
    return info_.Env().Undefined();
  }

 private:
  Napi::Value Readable(Napi::Value value, const char* name) {
    if (!value.IsEmpty()) return value;
    Fail(name, "readable");
    return info_.Env().Undefined();
  }

  const Napi::CallbackInfo& info_;
  size_t at_ = 0;
  std::string failure_;
};

}  // namespace overlaid
