// fileops by itself, without Node, so that it can be built with each sanitizer:
//
//     harness errors DIR         every system call of every operation fails, with each errno
//     harness fuzz RUNS SEED     code of random damage is read to its end or refused
//     harness stress DIR ROUNDS  batches of several threads in one root
//
// Prints what it did; the first thing that is wrong ends it with status 1.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <thread>

#include "code.h"
#include "inject.h"

using overlaid::FileOp;
using Kind = FileOp::Kind;
namespace fs = std::filesystem;

namespace {

constexpr uint8_t kAll = FileOp::kHasMode | FileOp::kHasUid | FileOp::kHasGid | FileOp::kHasMtime;
std::vector<char> memory(1 << 16, 'x');
const std::vector<iovec> kBuffers{{.iov_base = memory.data(), .iov_len = memory.size()}};

[[noreturn]] void Die(const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  std::exit(1);
}

size_t OpenFiles() {
  size_t count = 0;
  for (const auto& entry : fs::directory_iterator("/proc/self/fd")) count += entry.exists() ? 1 : 1;
  return count;
}

// One operation, what must be there before it, and what shows that it was done.
struct Case {
  const char* name;
  Op op;
};

std::vector<Case> Cases() {
  const std::vector<std::pair<std::string, std::string>> xattrs{{"user.a", "value"}};
  const Op whole{.kind = Kind::kFile,
                 .path = "d/new",
                 .flags = kAll,
                 .mode = 04755,
                 .uid = 7,
                 .gid = 8,
                 .offset = 100'000,
                 .pieces = {10, 60'000},
                 .xattrs = xattrs};
  auto plain = whole;
  plain.mode = 0644;
  plain.uid = plain.gid = 0;
  plain.xattrs = {};
  return {
      {"file", whole},
      {"plain file", plain},
      {"dir",
       {.kind = Kind::kDir,
        .path = "d/new",
        .flags = kAll,
        .mode = 01777,
        .uid = 7,
        .gid = 8,
        .xattrs = xattrs}},
      {"bare dir", {.kind = Kind::kDir, .path = "d/new"}},
      {"symlink",
       {.kind = Kind::kSymlink,
        .path = "d/new",
        .target = "old",
        .flags = kAll,
        .mode = 0777,
        .uid = 7,
        .gid = 8}},
      {"node",
       {.kind = Kind::kNode,
        .path = "d/new",
        .flags = kAll,
        .mode = S_IFIFO | 0640,
        .uid = 7,
        .gid = 8}},
      {"link", {.kind = Kind::kLink, .path = "d/new", .target = "e/old"}},
      {"meta",
       {.kind = Kind::kMeta,
        .path = "e/old",
        .flags = kAll,
        .mode = 0600,
        .uid = 7,
        .gid = 8,
        .xattrs = xattrs}},
      {"remove", {.kind = Kind::kRemove, .path = "e/old"}},
      {"rename", {.kind = Kind::kRename, .path = "e/old", .target = "d/new"}},
      {"create", {.kind = Kind::kCreate, .path = "d/new", .offset = 5000}},
      {"write", {.kind = Kind::kWrite, .path = "e/old", .offset = 3, .pieces = {10, 20}}},
  };
}

// Runs a case in a fresh folder of `dir` with an operation before and one after it.
struct Outcome {
  int calls;
  std::optional<overlaid::SysError> error;
  bool before, after;
};

Outcome RunCase(const std::string& dir, const Op& op, int at, int code) {
  const auto root = fs::path(dir) / "root";
  fs::remove_all(root);
  fs::create_directories(root / "d");
  fs::create_directories(root / "e");
  if (std::FILE* old = std::fopen((root / "e/old").c_str(), "w")) std::fclose(old);
  const int fd = open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) Die("no root");
  const auto bytes =
      Encode({{.kind = Kind::kDir, .path = "before"}, op, {.kind = Kind::kDir, .path = "after"}});
  const size_t open_before = OpenFiles();
  inject::Arm(at, code);
  auto done = overlaid::RunFileOps(fd, bytes, kBuffers);
  const int calls = inject::Disarm();
  if (OpenFiles() != open_before) Die("descriptors leak");
  close(fd);
  Outcome outcome{.calls = calls,
                  .error = std::nullopt,
                  .before = fs::exists(root / "before"),
                  .after = fs::exists(root / "after")};
  if (!done) outcome.error = done.error();
  return outcome;
}

void Check(const Case& test, int at, int code, const Outcome& outcome) {
  const std::string where =
      std::string(test.name) + ", call " + std::to_string(at) + ", errno " + std::to_string(code);
  if (!outcome.error) {
    // openat2 has a way around it where a filter forbids it.
    if (code != EPERM || !outcome.before || !outcome.after) Die(where + ": no error");
    return;
  }
  const auto& error = *outcome.error;
  if (error.code != code) Die(where + ": another errno, " + std::to_string(error.code));
  if (error.syscall == nullptr || *error.syscall == 0) Die(where + ": no system call");
  if (!error.index || *error.index > 2) Die(where + ": no index");
  const char* paths[] = {"before", test.op.path.c_str(), "after"};
  if (error.path != paths[*error.index]) Die(where + ": another path, " + error.path.value_or(""));
  if (outcome.after) Die(where + ": went on after it");
  if (*error.index > 0 && !outcome.before) Die(where + ": what came before was not done");
}

int Errors(const std::string& dir) {
  int runs = 0;
  for (const auto& test : Cases()) {
    const auto good = RunCase(dir, test.op, 0, 0);
    if (good.error) Die(std::string(test.name) + " fails by itself: " + good.error->syscall);
    if (!good.before || !good.after) Die(std::string(test.name) + ": not all was done");
    for (int at = 1; at <= good.calls; at++) {
      for (const int code :
           {EIO, ENOSPC, EDQUOT, EROFS, EPERM, EACCES, ENOMEM, EMFILE, EOPNOTSUPP, ELOOP}) {
        Check(test, at, code, RunCase(dir, test.op, at, code));
        runs++;
      }
    }
  }
  std::printf("%d failures\n", runs);
  return 0;
}

std::vector<Op> SomeOps() {
  std::vector<Op> ops;
  for (const auto& test : Cases()) ops.push_back(test.op);
  return ops;
}

// Reads all that a decoder gives of `code`, each byte of it.
size_t ReadAll(const std::vector<uint8_t>& code) {
  // Exactly as long as the code, so that a sanitizer sees a byte too many.
  const std::vector<uint8_t> copy(code);
  overlaid::OpDecoder decoder(copy, kBuffers);
  FileOp op;
  size_t sum = 0;
  while (decoder.Next(op)) {
    for (const auto part : {op.path, op.target}) {
      for (size_t i = 0; i <= part.size(); i++) sum += static_cast<unsigned char>(part.data()[i]);
    }
    for (const auto part : op.xattrs) {
      for (const char c : part) sum += static_cast<unsigned char>(c);
    }
    for (const auto& piece : op.data)
      sum += static_cast<const char*>(piece.iov_base)[piece.iov_len - 1] & 0xff;
  }
  return sum;
}

int Fuzz(int runs, unsigned seed) {
  std::mt19937 random(seed);
  const auto base = Encode(SomeOps());
  size_t sum = 0;
  for (int run = 0; run < runs; run++) {
    auto code = base;
    for (unsigned edits = random() % 6; edits > 0; edits--) {
      const size_t at = random() % code.size();
      const uint8_t values[] = {0, 1, 0x7f, 0xff, static_cast<uint8_t>(random())};
      code[at] = values[random() % std::size(values)];
    }
    if (random() % 4 == 0) code.resize(random() % (code.size() + 1));
    if (random() % 16 == 0) {
      code.resize(random() % 300);
      for (auto& byte : code) byte = static_cast<uint8_t>(random());
    }
    sum += ReadAll(code);
  }
  std::printf("%d codes, %zu\n", runs, sum);
  return 0;
}

// A thread's folder of its own, and one that all share.
void MakeFiles(int fd, int thread, int round) {
  const auto name = [&](const char* folder, int i) {
    return std::string(folder) + "/" + std::to_string(thread) + "-" + std::to_string(round) + "-" +
           std::to_string(i);
  };
  const std::string own = "own" + std::to_string(thread);
  std::vector<Op> ops{{.kind = Kind::kDir, .path = own}};
  for (int i = 0; i < 50; i++) {
    for (const auto& folder : {own, std::string("shared")}) {
      ops.push_back({.kind = Kind::kFile,
                     .path = name(folder.c_str(), i),
                     .flags = kAll,
                     .mode = 0644,
                     .pieces = {100}});
    }
    ops.push_back({.kind = Kind::kLink, .path = name("links", i), .target = name("shared", i)});
  }
  ops.push_back({.kind = Kind::kRemove, .path = own, .flags = FileOp::kRecursive});
  const auto code = Encode(ops);
  if (auto done = overlaid::RunFileOps(fd, code, kBuffers); !done)
    Die(std::string(done.error().syscall) + " " + done.error().path.value_or(""));
}

int Stress(const std::string& dir, int rounds) {
  for (const char* folder : {"shared", "links"}) fs::create_directories(fs::path(dir) / folder);
  const int fd = open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) Die("no folder");
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; thread++) {
    threads.emplace_back([=] {
      for (int round = 0; round < rounds; round++) MakeFiles(fd, thread, round);
    });
  }
  for (auto& thread : threads) thread.join();
  close(fd);
  std::printf("%d batches\n", 4 * rounds);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "errors" && argc == 3) return Errors(argv[2]);
  if (mode == "fuzz" && argc == 4)
    return Fuzz(std::atoi(argv[2]), static_cast<unsigned>(std::atoi(argv[3])));
  if (mode == "stress" && argc == 4) return Stress(argv[2], std::atoi(argv[3]));
  std::fprintf(stderr, "usage: harness errors DIR | fuzz RUNS SEED | stress DIR ROUNDS\n");
  return 2;
}
