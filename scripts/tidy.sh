#!/bin/sh
# clang-tidy on every file of the addon that is built here, two at a time; what it finds is an error.
set -eu
cd "$(dirname "$0")/.."

addon_api=$(node -p "require('node-addon-api').include_dir")
node_api=$(node -p "require('path').resolve(process.execPath, '../../include/node')")
[ -f "$node_api/node_api.h" ] || { echo "Node's headers are not in $node_api" >&2; exit 1; }

# As in binding.gyp: the codecs' files are part of the addon where scripts/codecs.sh has built the libraries.
codecs=$(node native/codecs.mjs)
set -- native/*.cc
if [ -n "$codecs" ]; then
  flags="-DOVERLAID_CODECS -isystem $codecs/include"
else
  flags=
  for file; do
    shift
    case $file in native/inflate.cc | native/zstd.cc) ;; *) set -- "$@" "$file" ;; esac
  done
fi

printf '%s\0' "$@" | xargs -0 -n1 -P2 sh -c '
  clang-tidy --quiet "$3" -- -std=c++20 -D_GNU_SOURCE -DNAPI_VERSION=9 -DNODE_ADDON_API_DISABLE_DEPRECATED \
    -DNODE_ADDON_API_DISABLE_CPP_EXCEPTIONS -isystem "$0" -isystem "$1" $2 2>/dev/null' "$addon_api" "$node_api" "$flags"
