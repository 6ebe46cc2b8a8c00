#include "thread.h"

#include <pthread.h>

namespace overlaid {

int RunOnOwnThread(const std::function<void()>& body) {
  pthread_t thread{};
  auto* argument = const_cast<std::function<void()>*>(&body);
  const auto start = [](void* work) -> void* {
    (*static_cast<std::function<void()>*>(work))();
    return nullptr;
  };
  if (const int failed = pthread_create(&thread, nullptr, start, argument); failed != 0)
    return failed;
  return pthread_join(thread, nullptr);
}

}  // namespace overlaid
