#!/bin/sh
# Builds the libraries that the addon decompresses and compresses with when they are there, as static libraries that can
# go into a shared one: ISA-L for gzip and libzstd. Debian has them as source only in that form. Needs curl, make, a C
# compiler and, on x86-64, nasm. What is built stays in the cache, where native/codecs.mjs finds it.
#
# Usage: scripts/codecs.sh    prints the folder
set -eu

pool=${DEBIAN_MIRROR:-http://deb.debian.org/debian}/pool/main
folder=${XDG_CACHE_HOME:-$HOME/.cache}/overlaid/codecs-$(uname -m)
flags='-O3 -fPIC -fvisibility=hidden -ffunction-sections'

# fetch PATH SHA256: the checksums are those of the signed .dsc files.
fetch() {
  curl --silent --show-error --fail --location --output "$work/$(basename "$1")" "$pool/$1"
  echo "$2  $work/$(basename "$1")" | sha256sum --check --status
  tar -xf "$work/$(basename "$1")" -C "$work"
}

if [ -e "$folder/done" ]; then
  echo "$folder"
  exit
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fetch libi/libisal/libisal_2.30.0.orig.tar.xz f363f1be3d657d5676cef5253ee2233e60116e2fa9c9de86881185bf81e0e4b8
fetch libz/libzstd/libzstd_1.5.4+dfsg2.orig.tar.xz 8cf4bbb65e77ec348d052c8d6230eba66d435bddf64c8b5be2fcb16880c19953
rm -rf "$folder"
mkdir -p "$folder/include" "$folder/licenses"

cd "$work"/libisal-*/
make -s -f Makefile.unx units='igzip crc' CC='cc -fPIC -fvisibility=hidden' lib >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
cp bin/isa-l.a "$folder/libisal.a"
cp include/igzip_lib.h include/types.h "$folder/include"
cp LICENSE "$folder/licenses/isa-l.txt"

cd "$work"/*zstd*/
make -s -C lib libzstd.a-mt ZSTD_LEGACY_SUPPORT=0 ZSTD_LIB_DEPRECATED=0 ZSTD_LIB_DICTBUILDER=0 CFLAGS="$flags" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
cp lib/libzstd.a "$folder"
cp lib/zstd.h lib/zstd_errors.h "$folder/include"
cp LICENSE "$folder/licenses/zstd.txt"

touch "$folder/done"
echo "$folder"
