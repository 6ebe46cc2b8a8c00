// Runs a command and says what it took, from before its start until it is gone:
//
//     measure COMMAND ARGUMENT...
//
// Writes "NANOSECONDS PEAK_KIB" to descriptor 3 and ends as the command did. The peak is of the
// largest process: of the command or of one that it waited for. It is started from here, not from
// node: a process counts what it was forked from as its own memory until it runs another program.
#include <err.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(int argc, char **argv) {
  if (argc < 2) errx(2, "usage: measure COMMAND ARGUMENT...");
  long long start = now();
  pid_t child = vfork();
  if (child < 0) err(2, "vfork");
  if (child == 0) {
    execvp(argv[1], argv + 1);
    _exit(127);
  }
  int status;
  struct rusage usage;
  if (wait4(child, &status, 0, &usage) < 0) err(2, "wait4");
  dprintf(3, "%lld %ld\n", now() - start, usage.ru_maxrss);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
