// A promise of work that changes what belongs to its thread (working directory, mount namespace,
// umask, I/O priority), or that takes so long that it would keep one of libuv's few threads from
// the rest: on a thread of its own.
#pragma once

#include <napi.h>
#include <pthread.h>

#include <optional>
#include <type_traits>
#include <utility>

#include "job.h"

namespace overlaid {

// As Job. A thread-safe function wakes the loop when the thread is done. When the environment ends
// first, the hook of its end waits for the thread: what it reads is the environment's.
template <typename Work>
class ThreadJob {
 public:
  using Outcome = std::invoke_result_t<Work&>;

  static Napi::Value Run(Napi::Env env, const char* name, Work work, Napi::Object keep) {
    const Deferred deferred(env);
    if (!deferred) return deferred.promise;
    auto* job = new ThreadJob(env, std::move(work), deferred.handle);
    if (!keep.IsEmpty()) job->keep_ = Napi::Persistent(keep);
    job->Start(name);
    // It deletes itself when it is done.
    return deferred.promise;  // NOLINT(clang-analyzer-cplusplus.NewDeleteLeaks)
  }

  ThreadJob(const ThreadJob&) = delete;
  ThreadJob& operator=(const ThreadJob&) = delete;

 private:
  ThreadJob(napi_env env, Work work, napi_deferred deferred)
      : env_(env), work_(std::move(work)), deferred_(deferred) {}
  ~ThreadJob() = default;

  void Start(const char* name) {
    if (napi_create_threadsafe_function(env_, nullptr, nullptr, Napi::String::New(env_, name), 0, 1,
                                        nullptr, nullptr, this, OnDone, &done_) != napi_ok) {
      // The environment is being ended: nobody waits.
      delete this;
      return;
    }
    const int failed = pthread_create(&thread_, nullptr, Main, this);
    if (failed == 0) {
      runs_ = true;
      // It runs before the thread-safe function's own, which is older.
      napi_add_env_cleanup_hook(env_, Join, this);
      return;
    }
    outcome_.emplace(SysError{.code = failed, .syscall = "pthread_create"});
    Tell();
  }

  static void* Main(void* self) {
    auto* job = static_cast<ThreadJob*>(self);
    job->outcome_.emplace(job->work_());
    job->Tell();
    return nullptr;
  }

  void Tell() {
    napi_call_threadsafe_function(done_, nullptr, napi_tsfn_nonblocking);
    napi_release_threadsafe_function(done_, napi_tsfn_release);
  }

  static void Join(void* self) {
    auto* job = static_cast<ThreadJob*>(self);
    if (job->runs_) pthread_join(job->thread_, nullptr);
    job->runs_ = false;
  }

  // Without an environment once that has ended.
  static void OnDone(napi_env env, napi_value /*function*/, void* self, void* /*data*/) {
    auto* job = static_cast<ThreadJob*>(self);
    if (env == nullptr) {
      job->keep_.SuppressDestruct();
    } else {
      if (job->runs_) napi_remove_env_cleanup_hook(env, Join, self);
      Join(self);
      const Napi::HandleScope scope(env);
      Settle(env, job->deferred_, *job->outcome_);
    }
    delete job;
  }

  napi_env env_;
  Work work_;
  napi_deferred deferred_;
  Napi::ObjectReference keep_;
  napi_threadsafe_function done_ = nullptr;
  pthread_t thread_{};
  bool runs_ = false;
  std::optional<Outcome> outcome_;
};

template <typename Work>
Napi::Value RunJobOnOwnThread(Napi::Env env, const char* name, Work work, Napi::Object keep = {}) {
  return ThreadJob<Work>::Run(env, name, std::move(work), keep);
}

}  // namespace overlaid
