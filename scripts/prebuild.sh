#!/bin/sh
# Builds the addon that the package carries, prebuilds/linux-ARCH/overlaid.LIBC.node, in a folder of its own, so that
# the developer's build stays as it is.
set -eu
cd "$(dirname "$0")/.."

build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
cp -r native binding.gyp package.json "$build"
ln -s "$PWD/node_modules" "$build/node_modules"

# Headers that came with this node save node-gyp a download.
prefix=$(dirname "$(dirname "$(node -p process.execPath)")")
[ -z "${npm_config_nodedir:-}" ] && [ -e "$prefix/include/node/node_api.h" ] && export npm_config_nodedir="$prefix"

# Where they can't be had the addon is built without them, and node:zlib and fzstd decompress.
codecs=$(scripts/codecs.sh) || { codecs=; echo 'prebuild: without ISA-L and libzstd; see above' >&2; }

rm -rf prebuilds
npx prebuildify --napi --strip --tag-libc --cwd "$build" --out "$PWD" >"$build/log" 2>&1 || { cat "$build/log" >&2; exit 1; }
# Their licences go where they go.
[ -z "$codecs" ] || cat "$codecs"/licenses/*.txt >"$(echo prebuilds/linux-*)/LICENSES.txt"
ls prebuilds/*/*.node >&2
