#!/usr/bin/env bash
# The tests of the zfs driver on a real pool: here when this machine has ZFS, else under Debian's kernel in a virtual
# machine (scripts/guest.sh), with OpenZFS built for it.
#
#     scripts/zfs.sh                      the tests of test/zfs
#     scripts/zfs.sh test/zfs/store       some of them
#     scripts/zfs.sh -- zfs list          a command instead, in the virtual machine
#
# The first run builds the kernel module, which takes some ten minutes and needs gcc, make and what guest.sh needs; it is
# kept in the cache. Source and programs are packages of Debian's backports, unpacked and not installed.
set -euo pipefail
cd "$(dirname "$0")/.."

cache=${XDG_CACHE_HOME:-$HOME/.cache}/overlaid/zfs
suite=bookworm-backports

# An apt of its own, with the suite that has OpenZFS 2.3, beside the machine's.
backports() {
  APT_CONFIG=$cache/apt/conf "$@"
}

prepare_apt() {
  mkdir -p "$cache/apt/lists/partial" "$cache/apt/archives/partial"
  : >"$cache/apt/status"
  local keys=/usr/share/keyrings/debian-archive-keyring.gpg
  echo "deb [signed-by=$keys] ${DEBIAN_MIRROR:-http://deb.debian.org/debian} $suite contrib" >"$cache/apt/sources"
  cat >"$cache/apt/conf" <<CONF
Dir::Etc::sourcelist "$cache/apt/sources";
Dir::Etc::sourceparts "-";
Dir::State "$cache/apt";
Dir::State::status "$cache/apt/status";
Dir::Cache "$cache/apt";
APT::Sandbox::User "root";
CONF
  backports apt-get -qq update
}

# unpack FOLDER PACKAGE...: with the apt that $apt names
unpack() {
  local folder=$1 debs
  shift
  debs=$(mktemp -d)
  (cd "$debs" && ${apt:-} apt-get -qq download "$@" 2>/dev/null)
  for deb in "$debs"/*.deb; do dpkg -x "$deb" "$folder"; done
  rm -r "$debs"
}

# The modules and the programs for one kernel, into $cache/VERSION.
build() {
  local version=$1 source common=linux-headers-${1%-cloud-*}-common
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  prepare_apt
  unpack "$work/headers" "linux-headers-$version" "$common" "linux-kbuild-${version%%.0-*}"
  # Its makefile looks for the common headers where they would be if it were installed.
  sed -i "s, /usr/src/, $work/headers/usr/src/,g" "$work/headers/usr/src/linux-headers-$version/Makefile"
  apt=backports unpack "$work/source" zfs-dkms
  source=$(echo "$work"/source/usr/src/zfs-*)
  echo "building OpenZFS for $version; $cache/build.log grows meanwhile"
  (
    cd "$source"
    ./configure --with-config=kernel --with-linux="$work/headers/usr/src/$common" \
      --with-linux-obj="$work/headers/usr/src/linux-headers-$version"
    make -j2
  ) >"$cache/build.log" 2>&1 || { tail -n 20 "$cache/build.log" >&2; exit 1; }
  mkdir -p "$work/done/modules"
  cp "$source"/module/{spl,zfs}.ko "$work/done/modules/"
  strip --strip-debug "$work"/done/modules/*.ko
  apt=backports unpack "$work/done/root" zfsutils-linux libzfs6linux libzpool6linux libnvpair3linux libuutil3linux
  rm -rf "${cache:?}/$version"
  mv "$work/done" "$cache/$version"
  # exec comes before the trap.
  rm -rf "$work"
}

# The tests start the built library.
if [ "${1:-}" = -- ]; then
  shift
else
  set -- node node_modules/vitest/vitest.mjs run --project zfs "$@"
  if [ -c /dev/zfs ] && type -P zfs zpool >/dev/null; then exec "$@"; fi
  echo "this machine has no ZFS: the tests run in a virtual machine, emulated, which takes many minutes"
fi
version=$(scripts/guest.sh --kernel)
[ -e "$cache/$version/modules/zfs.ko" ] || build "$version"
export GUEST_MODULES='spl zfs' GUEST_MODULE_DIR=$cache/$version/modules GUEST_EXTRA=$cache/$version/root
export GUEST_MEMORY=${GUEST_MEMORY:-3072} GUEST_TIMEOUT=${GUEST_TIMEOUT:-7200}
exec scripts/guest.sh "$@"
