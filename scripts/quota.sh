#!/bin/sh
# The tests of size limits and of thin pools: here when the running kernel has the project quotas of ext4 and XFS and the
# device mapper's thin pools, which is found by trying, else under Debian's kernel in a virtual machine (scripts/guest.sh).
set -eu
cd "$(dirname "$0")/.."

# enforces MKFS...: whether a file system made so can be mounted with its project quotas on
enforces() {
  work=$(mktemp -d)
  mkdir "$work/folder"
  truncate -s 320M "$work/image"
  status=1
  if "$@" "$work/image" && mount -o loop,prjquota "$work/image" "$work/folder" 2>/dev/null; then
    # XFS without them says so in the kernel's log alone.
    grep -q " $work/folder .*prjquota" /proc/mounts && status=0
    umount "$work/folder"
  fi
  rm -r "$work"
  return $status
}

has_thin_pools() {
  dmsetup targets 2>/dev/null | grep -q '^thin-pool' || modprobe -q dm-thin-pool 2>/dev/null
}

# The tests start the built library and command.
set -- node node_modules/vitest/vitest.mjs run --project quota --project thin "$@"
if enforces mkfs.ext4 -q -F -O quota,project -E quotatype=prjquota && enforces mkfs.xfs -q -f && has_thin_pools; then
  exec "$@"
fi
echo "this kernel lacks project quotas or thin pools: the tests run in a virtual machine, emulated, which takes minutes"
export GUEST_MODULES=dm_thin_pool GUEST_PROGRAMS=dmsetup
exec scripts/guest.sh "$@"
