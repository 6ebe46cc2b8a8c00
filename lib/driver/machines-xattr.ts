/**
 * Attributes that go neither into a layer nor come out of one: overlayfs' own and fuse-overlayfs', by which a layer
 * could steer the mount it becomes part of (hide or expose files of other layers), and what belongs to the machine and
 * not to the file: the SELinux label that its policy gave, and the EVM signature over the inode's number. umoci leaves
 * them out too; docker keeps them all.
 */
export const MACHINES_XATTR: RegExp =
  /^(trusted|user)\.overlay\.|^(user|security)\.fuseoverlayfs\.|^security\.(selinux|evm)$/
