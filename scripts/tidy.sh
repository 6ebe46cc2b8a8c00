#!/bin/sh
# clang-tidy on every file of the addon, two at a time; what it finds is an error.
set -eu
cd "$(dirname "$0")/.."

addon_api=$(node -p "require('node-addon-api').include_dir")
node_api=$(node -p "require('path').resolve(process.execPath, '../../include/node')")
[ -f "$node_api/node_api.h" ] || { echo "Node's headers are not in $node_api" >&2; exit 1; }

printf '%s\0' native/*.cc | xargs -0 -n1 -P2 sh -c '
  clang-tidy --quiet "$2" -- -std=c++20 -D_GNU_SOURCE -DNAPI_VERSION=9 -DNODE_ADDON_API_DISABLE_DEPRECATED \
    -DNODE_ADDON_API_DISABLE_CPP_EXCEPTIONS -isystem "$0" -isystem "$1" 2>/dev/null' "$addon_api" "$node_api"
