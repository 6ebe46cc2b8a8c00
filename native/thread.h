// A thread for one piece of work, for what unshare(2), setns(2) and chdir(2) would leave changed
// behind them.
#pragma once

#include <functional>

namespace overlaid {

// Runs `body` on a new thread and waits for its end. Returns 0, or the errno of a thread that could
// not start.
int RunOnOwnThread(const std::function<void()>& body);

}  // namespace overlaid
