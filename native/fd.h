// Owning file descriptors, and the two loops that system calls need.
#pragma once

#include <unistd.h>

#include <cerrno>
#include <utility>

namespace overlaid {

// Keeps errno as it is on leaving the scope, whatever was called in between.
class PreserveErrno {
 public:
  PreserveErrno() = default;
  PreserveErrno(const PreserveErrno&) = delete;
  PreserveErrno& operator=(const PreserveErrno&) = delete;
  ~PreserveErrno() { errno = saved_; }

 private:
  int saved_ = errno;
};

// Closes its descriptor once; errno survives, so that the reason of a failure is not lost on the
// way out.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  Fd(Fd&& other) noexcept : fd_(other.Release()) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      Reset();
      fd_ = other.Release();
    }
    return *this;
  }
  ~Fd() { Reset(); }

  explicit operator bool() const { return fd_ >= 0; }
  int get() const { return fd_; }
  int Release() { return std::exchange(fd_, -1); }
  void Reset() {
    if (fd_ < 0) return;
    const PreserveErrno keep;
    // Never repeated on EINTR: Linux has freed the number by then.
    close(Release());
  }

 private:
  int fd_ = -1;
};

// Repeats `call` while a signal interrupts it. Not for close(2).
template <typename Call>
auto RetryEintr(Call call) {
  auto result = call();
  while (result == -1 && errno == EINTR) result = call();
  return result;
}

}  // namespace overlaid
