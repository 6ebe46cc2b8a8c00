// Makes one system call fail: those that fileops uses are wrapped by the linker (--wrap).
#pragma once

namespace inject {

// Counts the calls of this thread from now on; the `at`th one fails with `code`, none for 0.
void Arm(int at, int code);
// Ends it; gives how many calls there were.
int Disarm();

}  // namespace inject
