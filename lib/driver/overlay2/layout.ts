/**
 * The driver's home on disk: moby's overlay2, to the byte and mode.
 *
 *     overlay2/                      0710  whoever can look in here can run the setuid files of old images
 *     ├── l/                         0700  short names of the layers' diff folders
 *     │   └── 6Y5IM2XC7TSNIJZZFLJCS6I4I4   -> ../<id>/diff
 *     ├── <id>/                      0710  64 hex digits; `<64 hex>-init` of a container's init layer
 *     │   ├── diff/                  0755, or what the layer's tar says of `./`: the layer's own content
 *     │   ├── link                   0644  the layer's name in l/, no newline
 *     │   ├── lower                  0644  `l/<parent>:l/<grandparent>:…`, nearest first; not in a base layer
 *     │   ├── work/                  0700  overlayfs' workdir; not in a base layer
 *     │   ├── merged/                0700  the mount point; there only while mounted
 *     │   ├── committed              0600  empty; a child was made on this layer: it is mounted read-only from now on
 *     │   ├── idmap                  0600  ours: the ids that the container sees, see ../home/id-map-file.ts
 *     │   └── features               0600  ours: what a mount of this upper must go on having, see features.ts
 *     ├── staging/<random>/layer/          ours: layers that no id names yet, see ../home/home.ts
 *     └── trash/                           ours: what remove() set aside
 *
 * Why l/: mount(2) cuts its options at a page, in silence, so 128 lowers must fit in one. With a link of 26
 * characters, {@link LINK_DIR} and a separator each lower takes 26 + 2 + 1 bytes, and
 *
 *     128 lowers × 29 bytes = 3712 ≤ 4096 − 384 for upperdir, workdir, the flags and a SELinux label.
 *
 * Mounting by fd (6.13) and by `lowerdir+` (6.8) need none of that; dockerd does, and reads the same folders.
 *
 * Why lower holds the whole chain: a mount then reads one small file instead of one for each layer. It is said
 * twice, then — here and by the parents in the store — so check compares and mends it.
 */
import { join } from 'node:path'
import { OverlaidError } from '../../errors.ts'
import { isPlainID, STAGING_DIR, TRASH_DIR } from '../home/home.ts'

export const LINK_DIR = 'l'

/** Block device node that dockerd makes for project quotas on xfs. */
const QUOTA_DEVICE = 'backingFsBlockDev'

const RESERVED: ReadonlySet<string> = new Set([LINK_DIR, STAGING_DIR, TRASH_DIR, QUOTA_DEVICE])

/** Exact modes, whatever the umask. */
export const MODES = {
  links: 0o700,
  layer: 0o710,
  diff: 0o755,
  work: 0o700,
  link: 0o644,
  lower: 0o644,
  committed: 0o600,
  features: 0o600,
  idMap: 0o600,
} as const

/** Files and folders of one layer. */
export interface LayerFolder {
  readonly dir: string
  readonly diff: string
  readonly link: string
  readonly lower: string
  readonly work: string
  readonly merged: string
  readonly committed: string
  readonly features: string
  readonly idMap: string
}

export function layerFolder(dir: string): LayerFolder {
  // Not join(): nine of them a call take longer than some of the system calls that follow.
  const at = (name: string): string => `${dir}/${name}`
  return {
    dir,
    diff: at('diff'),
    link: at('link'),
    lower: at('lower'),
    work: at('work'),
    merged: at('merged'),
    committed: at('committed'),
    features: at('features'),
    idMap: at('idmap'),
  }
}

/** None of the home's own names. */
export function isLayerID(id: string): boolean {
  return isPlainID(id) && !RESERVED.has(id)
}

/** The folder of `id` in `home`. @throws ERR_INVALID_ARGUMENT before the id gets into any path */
export function folderOf(home: string, id: string): LayerFolder {
  if (!isLayerID(id))
    throw new OverlaidError('ERR_INVALID_ARGUMENT', `${JSON.stringify(id)} cannot name a layer`)
  return layerFolder(join(home, id))
}

/** A name in l/: 26 characters of RFC 4648's base 32 alphabet. */
const LINK = /^[A-Z2-7]{26}$/

export function isLinkName(name: string): boolean {
  return LINK.test(name)
}

/** What `l/<link>` of a layer points to. */
export function linkTarget(id: string): string {
  return `../${id}/diff`
}

/** The id that the target of an entry in l/ names, undefined when it does not have the form. */
export function idOfLinkTarget(target: string): string | undefined {
  const id = /^\.\.\/([^/]+)\/diff$/.exec(target)?.[1]
  return id !== undefined && isLayerID(id) ? id : undefined
}

/**
 * The link names in the text of a `lower` file, nearest parent first. They end up in mount options and in paths, so
 * nothing but `l/<26 characters>` passes.
 * @throws ERR_DAMAGED
 */
export function parseLower(text: string, path: string): string[] {
  return text
    .trim()
    .split(':')
    .map((component) => {
      const name = component.startsWith(`${LINK_DIR}/`) ? component.slice(LINK_DIR.length + 1) : ''
      if (isLinkName(name)) return name
      throw new OverlaidError(
        'ERR_DAMAGED',
        `${path} names ${JSON.stringify(component)}, which is no layer`,
        { path },
      )
    })
}

/** The text of the `lower` file over these link names, nearest first. */
export function formatLower(links: readonly string[]): string {
  return links.map((name) => `${LINK_DIR}/${name}`).join(':')
}
