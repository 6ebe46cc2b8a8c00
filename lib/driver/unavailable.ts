/** Why a name is no driver of this version: gone from Docker, or never one. */
import { OverlaidError } from '../errors.ts'
import { DRIVER_NAMES } from './drivers.ts'

interface Retired {
  readonly was: string
  /** The Docker release that warned of it first. */
  readonly deprecated: string
  /** The first Docker release without it. */
  readonly removed: string
}

/** https://docs.docker.com/engine/deprecated/ */
const RETIRED: ReadonlyMap<string, Retired> = new Map([
  ['aufs', { was: 'layers merged by aufs, which never was in Linux', deprecated: '19.03', removed: '24.0' }],
  [
    'overlay',
    {
      was: 'the overlayfs driver before overlay2: one layer below a container, made of hard links',
      deprecated: '18.09',
      removed: '24.0',
    },
  ],
  [
    'devicemapper',
    { was: 'a thin block device of the device mapper for each layer', deprecated: '18.09', removed: '25.0' },
  ],
])

/** The error for a driver that this version cannot open: {@link OverlaidError.hint} says what to do. */
export function unavailable(name: string, root: string): OverlaidError {
  const retired = RETIRED.get(name)
  if (retired !== undefined) return gone(name, retired, root)
  return new OverlaidError(
    'ERR_INVALID_ARGUMENT',
    `no driver is called ${JSON.stringify(name)}; there are ${DRIVER_NAMES.join(', ')}`,
  )
}

function gone(name: string, { was, deprecated, removed }: Retired, root: string): OverlaidError {
  return new OverlaidError(
    'ERR_DRIVER_MISMATCH',
    `Docker's driver ${name} (${was}) is gone: deprecated in Docker ${deprecated}, removed in ${removed}`,
    {
      path: root,
      hint:
        `images: overlaid --root NEW migrate --from ${name} ${root}, into a new data root; ` +
        `what is only in ${root}: start a Docker before ${removed} on it, ` +
        '`docker commit` its containers, `docker save` its images, and load those',
    },
  )
}
