#!/bin/sh
# Builds the addon with AddressSanitizer and UndefinedBehaviorSanitizer in a folder of its own and runs the native
# tests on it. Arguments go to vitest.
set -eu
cd "$(dirname "$0")/.."

build="${TMPDIR:-/tmp}/overlaid-asan"
mkdir -p "$build"
# node-gyp builds beside binding.gyp: a copy leaves the ordinary build alone.
rm -rf "$build/native"
cp -r native binding.gyp package.json "$build"
ln -sfn "$PWD/node_modules" "$build/node_modules"
GYP_DEFINES="sanitize=address,undefined" npx node-gyp -C "$build" --loglevel=error --jobs=max configure build

asan="$(${CC:-gcc} -print-file-name=libasan.so)"
ubsan="$(${CC:-gcc} -print-file-name=libubsan.so)"
# Leaks: V8 does not free what it holds at exit. The first error ends the process, which vitest reports.
LD_PRELOAD="$asan:$ubsan" \
ASAN_OPTIONS=detect_leaks=0:halt_on_error=1:abort_on_error=1 \
UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
OVERLAID_PREBUILD="$build" \
  npx vitest run --project kernel "${@:-test/native/}"
