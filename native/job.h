// The one way from a system call to a promise.
#pragma once

#include <napi.h>

#include <optional>
#include <type_traits>
#include <utility>

#include "error.h"
#include "result.h"
#include "to_js.h"

namespace overlaid {

// A promise and what settles it. In a worker thread that is being terminated none can be made, and
// Napi::Promise::Deferred would hold garbage: `promise` is undefined then, which nobody will see.
struct Deferred {
  explicit Deferred(Napi::Env env) : promise(env.Undefined()) {
    napi_value value = nullptr;
    if (napi_create_promise(env, &handle, &value) == napi_ok) promise = Napi::Value(env, value);
  }

  explicit operator bool() const { return handle != nullptr; }

  napi_deferred handle = nullptr;
  Napi::Value promise;
};

// Fails in such a thread as well, where nobody waits for it.
template <typename T>
void Settle(Napi::Env env, napi_deferred deferred, Result<T>& outcome) {
  if (outcome) {
    napi_resolve_deferred(env, deferred, ToJs(env, *outcome));
  } else {
    napi_reject_deferred(env, deferred, ToError(env, outcome.error()).Value());
  }
}

// Runs `Work`, a callable that gives a Result<T>, on a thread of libuv's pool and settles a promise
// with it. The work never touches napi: it owns all that it needs.
template <typename Work>
class Job : public Napi::AsyncWorker {
 public:
  using Outcome = std::invoke_result_t<Work&>;

  // Starts `work`; `keep` is held until it is done (memory of JavaScript's that the work reads).
  static Napi::Value Run(Napi::Env env, const char* name, Work work, Napi::Object keep = {}) {
    const Deferred deferred(env);
    if (!deferred) return deferred.promise;
    auto* job = new Job(env, name, std::move(work), deferred.handle);
    if (!keep.IsEmpty()) job->keep_ = Napi::Persistent(keep);
    job->Queue();
    // It deletes itself when it is done.
    return deferred.promise;  // NOLINT(clang-analyzer-cplusplus.NewDeleteLeaks)
  }

 protected:
  void Execute() override { outcome_.emplace(work_()); }

  void OnOK() override { Settle(Env(), deferred_, *outcome_); }

  void OnError(const Napi::Error& error) override {
    napi_reject_deferred(Env(), deferred_, error.Value());
  }

 private:
  Job(Napi::Env env, const char* name, Work work, napi_deferred deferred)
      : Napi::AsyncWorker(env, name), work_(std::move(work)), deferred_(deferred) {}

  Work work_;
  napi_deferred deferred_;
  Napi::ObjectReference keep_;
  std::optional<Outcome> outcome_;
};

template <typename Work>
Napi::Value RunJob(Napi::Env env, const char* name, Work work, Napi::Object keep = {}) {
  return Job<Work>::Run(env, name, std::move(work), keep);
}

// As RunJob, for work that cannot wait for anything: it is done at once, on the calling thread.
template <typename Work>
Napi::Value RunNow(Napi::Env env, Work work) {
  const Deferred deferred(env);
  if (!deferred) return deferred.promise;
  auto outcome = work();
  Settle(env, deferred.handle, outcome);
  return deferred.promise;
}

}  // namespace overlaid
