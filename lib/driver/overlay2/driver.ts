/**
 * Docker's overlay2: each layer a folder that holds its own changes in overlayfs' form, merged by the kernel.
 *
 *     const driver = openOverlay2('/var/lib/overlaid/overlay2', { durability: 'full' })
 *     await driver.prepare()                       // can this machine do it? makes the home
 *
 *     const staged = await driver.stage()          // staging/<x>/layer/diff, locked, without a name
 *     await staged.apply(tar)                      // files, whiteouts as 0:0 devices, opaque directories as xattrs
 *     await staged.commit(cacheID, parentID)       // lower, link, l/<link>, then one rename to <cacheID>
 *
 *     await driver.createReadWrite(id, cacheID)    // an empty diff, and a work folder beside it
 *     const root = await driver.get(id)            // <id>/merged: diff over the chain that `lower` names
 *     await writeFile(join(root, 'new'), 'x')      // the kernel writes it into <id>/diff/new
 *     await driver.put(id)
 *     for await (const bytes of driver.diff(id, cacheID)) …   // <id>/diff as a layer tar
 *
 * The parts: layout.ts draws the home; upper-driver.ts does what drivers with that home do alike, and is told by
 * backend.ts' interface what is theirs; stage.ts has the commit protocol; mount-layer.ts and mount.ts make mounts;
 * ../upper/ unpacks into an upper directory and reads it; check.ts finds what is broken or left over. What mounts
 * don't need is imported when it is first asked for.
 */
import type { Durability } from '../../fs/atomic.ts'
import type { Detached } from '../../native/mount.ts'
import { describeBacking } from '../backing.ts'
import type { DetachedMount, OpenOptions } from '../driver.ts'
import type { Home } from '../home/home.ts'
import { OVERLAY_MARKS } from '../upper/marks.ts'
import type { UpperBackend, UpperReading } from './backend.ts'
import { readFeatures } from './features.ts'
import { folderOf } from './layout.ts'
import { mountLayer } from './mount-layer.ts'
import { UpperDriver } from './upper-driver.ts'
import { UserNamespaces } from './user-namespaces.ts'
import { openParentView, openView } from './view.ts'

export type Overlay2Driver = UpperDriver

class Overlay2Backend implements UpperBackend {
  readonly name = 'overlay2'
  readonly marking = { marks: OVERLAY_MARKS }
  readonly home: Home
  readonly #namespaces = new UserNamespaces()

  constructor(home: Home) {
    this.home = home
  }

  /** With the merged view when the upper may hold renamed folders or bare metadata, and only then. */
  async reading(id: string): Promise<UpperReading> {
    const { userxattr, redirectDir } = readFeatures(folderOf(this.home.path, id))
    const prefix = userxattr ? 'user.overlay.' : 'trusted.overlay.'
    return redirectDir ? { prefix, view: await this.openView(id) } : { prefix }
  }

  async verify(): Promise<void> {
    const { verifySupport } = await import('./support.ts')
    return verifySupport(this.home.path)
  }

  mountLayer(id: string, options: OpenOptions): Promise<Detached> {
    return mountLayer(this.home, id, options, this.#namespaces)
  }

  openView(id: string): Promise<DetachedMount> {
    return openView(this.home.path, id)
  }

  openParentView(id: string): Promise<DetachedMount | undefined> {
    return openParentView(this.home.path, id)
  }

  async release(): Promise<void> {
    await this.#namespaces.release()
  }

  async status(): Promise<readonly (readonly [string, string])[]> {
    const { name, dType } = await describeBacking(this.home.path)
    return [
      ['Backing Filesystem', name],
      ['Supports d_type', dType === undefined ? 'unknown' : String(dType)],
      ['Using metacopy', 'false'],
      ['Native Overlay Diff', 'true'],
      ['userxattr', 'false'],
    ]
  }
}

/** Opens the driver on its home, `<root>/overlay2`. Reads and writes nothing yet. */
export function openOverlay2(
  home: string,
  { durability }: { readonly durability: Durability },
): Overlay2Driver {
  return new UpperDriver(new Overlay2Backend({ path: home, durability }))
}
