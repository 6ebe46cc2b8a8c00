/** The drivers of Docker's whose layers can be read without them: see foreign.ts. */
export const FOREIGN_NAMES = [
  'aufs',
  'overlay',
  'vfs',
  'btrfs',
  'zfs',
  'fuse-overlayfs',
  'devicemapper',
] as const

export type ForeignName = (typeof FOREIGN_NAMES)[number]

export function isForeignName(name: string): name is ForeignName {
  return (FOREIGN_NAMES as readonly string[]).includes(name)
}
