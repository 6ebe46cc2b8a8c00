#!/usr/bin/env bash
# Runs a command in this checkout under Debian's kernel, in a virtual machine, for what the running kernel was not built
# with (the project quotas of ext4 and XFS). Without /dev/kvm's help: qemu emulates, which takes some times as long.
#
#     scripts/guest.sh npx vitest run --project quota
#
# As root or not. Needs qemu-system-x86, busybox-static, e2fsprogs and strace; the kernel is Debian's package, unpacked into
# the cache and not installed. The guest has this checkout, Node and the programs that tests call, and no network; what
# the command writes is gone with it, but for its output and its exit status.
#
# What else the guest has is told by the environment, each a list of words or one word:
#     GUEST_MODULES      modules to load besides
#     GUEST_MODULE_DIR   a folder of modules that the kernel's package has not
#     GUEST_PROGRAMS     programs of this machine's
#     GUEST_EXTRA        a folder that is laid over the root; the libraries that its programs load come along
#     GUEST_MEMORY       MiB, of which 70 % can be files in /tmp
#     GUEST_TIMEOUT      seconds
# With --kernel in the place of the command it fetches the kernel alone and says which.
set -euo pipefail
cd "$(dirname "$0")/.."

cache=${XDG_CACHE_HOME:-$HOME/.cache}/overlaid/guest
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# shellcheck disable=SC2206
modules=(virtio_pci virtio_blk loop overlay quota_v2 xfs btrfs fuse vfat nls_cp437 nls_ascii ${GUEST_MODULES:-})
# shellcheck disable=SC2206
programs=(sh bash node strace mount umount losetup findmnt dd sync chattr lsattr tune2fs mkfs.ext4 mkfs.xfs mkfs.btrfs
  mkfs.vfat setfattr fuse-overlayfs find tar ls cat env mknod chown setpriv nsenter stat ln touch chmod test true unshare
  chroot truncate rm mkdir mkfifo mv cp
  ${GUEST_PROGRAMS:-})
extra=${GUEST_EXTRA:-}

# The newest of Debian's kernels for machines like this one.
fetch_kernel() {
  local package
  package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-\)/\1/p' | head -1)
  [ -n "$package" ] || { echo "guest: apt knows no linux-image-cloud-amd64" >&2; exit 1; }
  version=${package#linux-image-}
  [ -e "$cache/$version/boot/vmlinuz-$version" ] && return
  mkdir -p "$cache"
  (cd "$work" && apt-get -qq download "$package" 2>/dev/null && dpkg -x "$package"_*.deb kernel)
  depmod -b "$work/kernel" "$version"
  rm -rf "${cache:?}/$version"
  mv "$work/kernel" "$cache/$version"
}

# Where modprobe finds the modules; with those of GUEST_MODULE_DIR it is a copy.
module_tree() {
  [ -n "${GUEST_MODULE_DIR:-}" ] || { echo "$cache/$version"; return; }
  mkdir -p "$work/modules/lib/modules"
  cp -a "$cache/$version/lib/modules/$version" "$work/modules/lib/modules/"
  mkdir "$work/modules/lib/modules/$version/extra"
  cp "$GUEST_MODULE_DIR"/*.ko "$work/modules/lib/modules/$version/extra/"
  depmod -b "$work/modules" "$version"
  echo "$work/modules"
}

# Modules in the order in which they need each other, and an init that leads to the checkout.
make_initramfs() {
  local root=$work/initramfs module number=0 tree
  tree=$(module_tree)
  mkdir -p "$root"/{bin,modules,dev,proc,sys,root}
  cp "$(command -v busybox)" "$root/bin/busybox"
  for module in "${modules[@]}"; do
    modprobe -d "$tree" -S "$version" --show-depends "$module" | awk '$1 == "insmod" { print $2 }'
  done | awk '!seen[$0]++' | while read -r path; do
    cp "$path" "$root/modules/$(printf %02d $number)-$(basename "$path")"
    number=$((number + 1))
  done
  cat >"$root/init" <<'INIT'
#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
for module in /modules/*; do insmod "$module"; done
mount -t devtmpfs dev /dev
mount -t ext4 /dev/vda /root
mount -o move /dev /root/dev
exec switch_root /root /init
INIT
  chmod +x "$root/init"
  (cd "$root" && find . | busybox cpio -o -H newc 2>/dev/null) >"$work/initramfs.img"
}

libraries() {
  ldd "$1" 2>/dev/null | grep -o '/[^ ]*' | grep -v : || true
}

# Lays GUEST_EXTRA over the root, and what its programs load of this machine.
copy_extra() {
  local path
  tar -C "$extra" -cf - . | tar -C "$1" --keep-directory-symlink -xf -
  LD_LIBRARY_PATH=$(find "$extra" -name '*.so.*' -printf '%h\n' | sort -u | paste -sd:)
  export LD_LIBRARY_PATH
  find "$extra" -type f -perm -u+x | while read -r path; do libraries "$path"; done | grep -v "^$extra/" | sort -u |
    tar -C / --dereference -cf - -T - --transform 's,^/,,' 2>/dev/null | tar -C "$1" --keep-directory-symlink -xf -
  unset LD_LIBRARY_PATH
}

# Programs and addons with the libraries that they load, at the same places as here.
copy_programs() {
  local path
  {
    for path in "${programs[@]}"; do type -P "$path" || true; done
    find "$PWD/node_modules" "$PWD/build/Release" -name '*.node'
  } | while read -r path; do
    case $path in "$PWD"/*) ;; *) echo "$path" && readlink -f "$path" ;; esac
    libraries "$path"
  done | sort -u | tar -C / --dereference -cf - -T - --transform 's,^/,,' 2>/dev/null | tar -C "$1" -xf -
}

make_disk() {
  local root=$work/root
  mkdir -p "$root"/{dev,proc,sys,tmp,run,etc,checkout,usr/bin,usr/lib,usr/lib64,usr/sbin}
  for dir in bin lib lib64 sbin; do ln -s "usr/$dir" "$root/$dir"; done
  copy_programs "$root"
  [ -z "$extra" ] || copy_extra "$root"
  cp /etc/passwd /etc/group /etc/mke2fs.conf "$root/etc/"
  tar -cf - --exclude=.git --exclude=build/Release/obj.target . | tar -C "$root/checkout" -xf -
  printf '%q ' "$@" >"$root/command"
  cat >"$root/init" <<'INIT'
#!/bin/bash
export PATH=/usr/sbin:/usr/bin HOME=/tmp TMPDIR=/tmp NO_COLOR=1 CI=${CI:-}
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmpfs /run
mount -t tmpfs -o size=70% tmpfs /tmp
mkdir /dev/shm && mount -t tmpfs tmpfs /dev/shm
cd /checkout
# Through a pipe: to a terminal, programs write more than lines.
bash /command 2>&1 </dev/null | cat >/dev/ttyS1
printf '\n@@status %s\n' "${PIPESTATUS[0]}" >/dev/ttyS1
echo o >/proc/sysrq-trigger
while :; do :; done
INIT
  chmod +x "$root/init"
  mke2fs -q -t ext4 -O ^has_journal -d "$root" "$work/disk" "$(($(du -sm "$root" | cut -f1) * 5 / 4 + 64))M" >/dev/null
}

# Without no_timer_check: on a busy host the emulated timer is late, which the kernel takes for a broken one.
boot() {
  timeout "${GUEST_TIMEOUT:-1200}" qemu-system-x86_64 -machine q35 -accel tcg,thread=multi -cpu max -smp 2 -m "${GUEST_MEMORY:-1536}" \
    -nodefaults -nographic -no-reboot -kernel "$cache/$version/boot/vmlinuz-$version" \
    -initrd "$work/initramfs.img" -append "console=ttyS0 no_timer_check panic=-1 ${CI:+CI=$CI}" \
    -drive "file=$work/disk,if=virtio,format=raw,cache=unsafe" \
    -serial "file:$work/console" -serial stdio </dev/null | tee "$work/output" | grep --line-buffered -v '^@@status'
}

fetch_kernel
if [ "${1:-}" = --kernel ]; then
  echo "$version"
  exit
fi
make_initramfs
make_disk "$@"
boot || true
status=$(sed -n 's/^@@status \([0-9]*\).*/\1/p' "$work/output" | tail -1)
[ -n "$status" ] || { echo "guest: it ended without a status; its console says:" >&2; grep -v "  ? " "$work/console" | tail -n 40 >&2; exit 125; }
exit "$status"
