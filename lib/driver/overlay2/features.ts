/**
 * What an upper directory was once mounted with and must be mounted with from then on.
 *
 * overlayfs writes its marks into the upper: with `userxattr` under user.overlay.*, with `redirect_dir=on` a renamed
 * folder becomes a name with a trusted.overlay.redirect, with `metacopy=on` a file becomes its metadata alone. A
 * later mount without the option shows other content, or EPERM. So the first mount that asks for one notes it in
 * the layer's `features` file, one word a line, before the kernel can write the first mark; later mounts and the
 * differ follow it. dockerd does not read the file and does what its module's defaults say.
 */
import { writeFileAtomic, type Durability } from '../../fs/atomic.ts'
import { readRareText } from '../../fs/read-text.ts'
import type { MountOptions } from '../driver.ts'
import { type LayerFolder, MODES } from './layout.ts'

const WORDS = { userxattr: 'userxattr', redirectDir: 'redirect_dir', metacopy: 'metacopy' } as const

type Feature = keyof typeof WORDS

export type Features = { readonly [feature in Feature]: boolean }

/** The features that the layer's upper has been mounted with. */
export function readFeatures(folder: LayerFolder): Features {
  const words = new Set(readRareText(folder.features)?.split('\n') ?? [])
  return {
    userxattr: words.has(WORDS.userxattr),
    redirectDir: words.has(WORDS.redirectDir),
    metacopy: words.has(WORDS.metacopy),
  }
}

/** Notes the features that `options` ask for beyond those of `folder`; returns all that hold from now on. */
export async function noteFeatures(
  folder: LayerFolder,
  options: MountOptions,
  durability: Durability,
): Promise<Features> {
  const before = readFeatures(folder)
  const after = {
    userxattr: before.userxattr || options.userxattr === true,
    // metacopy=on turns redirect_dir=on by itself.
    redirectDir: before.redirectDir || options.redirectDir === true || options.metacopy === true,
    metacopy: before.metacopy || options.metacopy === true,
  }
  const words = features(after)
  if (words.length === features(before).length) return after
  await writeFileAtomic(folder.features, `${words.join('\n')}\n`, { mode: MODES.features, durability })
  return after
}

function features(set: Features): string[] {
  return (Object.keys(WORDS) as Feature[]).filter((feature) => set[feature]).map((feature) => WORDS[feature])
}
