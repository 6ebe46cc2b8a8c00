#!/bin/sh
# The tests of size limits: here when the running kernel has the project quotas of ext4 and XFS, which is found by trying,
# else under Debian's kernel in a virtual machine (scripts/guest.sh).
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

# The tests start the built library and command.
set -- node node_modules/vitest/vitest.mjs run --project quota "$@"
if enforces mkfs.ext4 -q -F -O quota,project -E quotatype=prjquota && enforces mkfs.xfs -q -f; then
  exec "$@"
fi
echo "this kernel has no project quotas: the tests run in a virtual machine, emulated, which takes minutes"
exec scripts/guest.sh "$@"
