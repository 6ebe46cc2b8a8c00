#!/bin/sh
# The batch primitive by itself (test/native/harness), without Node: every system call of every operation fails in turn
# and random code is read, under AddressSanitizer and UndefinedBehaviorSanitizer; several threads in one root, under
# ThreadSanitizer. FUZZ_SEED repeats a run.
set -eu
cd "$(dirname "$0")/.."

build="${TMPDIR:-/tmp}/overlaid-harness"
rm -rf "$build"
mkdir -p "$build"
addon_api=$(node -p "require('node-addon-api').include_dir")
node_api=$(node -p "require('path').resolve(process.execPath, '../../include/node')")
[ -f "$node_api/node_api.h" ] || { echo "Node's headers are not in $node_api" >&2; exit 1; }

# compile SANITIZERS FOLDER
compile() {
  mkdir -p "$build/$2"
  printf '%s\n' test/native/harness/*.cc native/fileops.cc native/fileops_code.cc native/resolve.cc \
    native/remove_tree.cc native/btrfs.cc native/btrfs_tree.cc native/xattr.cc native/dirent.cc native/statx.cc |
    xargs -P2 -I{} sh -c '
      c++ -std=c++20 -D_GNU_SOURCE -DNAPI_VERSION=9 -DNODE_ADDON_API_DISABLE_DEPRECATED \
        -DNODE_ADDON_API_DISABLE_CPP_EXCEPTIONS -g -O1 -fno-omit-frame-pointer -fsanitize="$1" \
        -isystem "$2" -isystem "$3" -iquote native -c {} -o "$0/$(basename {} .cc).o"' \
      "$build/$2" "$1" "$addon_api" "$node_api"
  wrapped=
  for name in mkdirat symlinkat mknodat linkat unlinkat renameat pwritev ftruncate fstat fchownat fchmod chmod \
    futimens utimensat fsetxattr lsetxattr openat fcntl syscall; do
    wrapped="$wrapped -Wl,--wrap=$name"
  done
  # Some of these files have functions for Node-API too, which nothing calls here.
  # shellcheck disable=SC2086
  c++ -no-pie -fsanitize="$1" "$build/$2"/*.o $wrapped -Wl,--unresolved-symbols=ignore-all -o "$build/$2/harness"
}

compile address,undefined asan
compile thread tsan
"$build/asan/harness" errors "$build/asan"
"$build/asan/harness" fuzz 300000 "${FUZZ_SEED:-$(date +%s)}"
mkdir "$build/root"
"$build/tsan/harness" stress "$build/root" 30
rm -rf "$build"
