/** Layers unpacked from member lists, and stacked by a driver, for tests of apply and settle. */
import { closeSync, constants, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { applyLayer, type ApplyLayerOptions } from '../../lib/driver/upper/apply.ts'
import type { ApplyNotes } from '../../lib/driver/upper/apply-notes.ts'
import type { Driver } from '../../lib/driver/driver.ts'
import { openOverlay2 } from '../../lib/driver/overlay2/driver.ts'
import { settleLayer } from '../../lib/driver/upper/settle.ts'
import { streamOf } from '../../lib/driver-suite/streams.ts'
import { type LoopFileSystem, loopFileSystem } from './loopfs.ts'
import { rawTar, type TarSpec } from './rawtar.ts'
import { type DumpOptions, dumpTree, tree, type TreeNode } from '../../lib/driver-suite/tree.ts'

export type LayerSpec = readonly TarSpec[] | Buffer

const OPEN_DIR = constants.O_RDONLY | constants.O_DIRECTORY

export interface Unpacked {
  readonly dir: string
  readonly notes: ApplyNotes
}

type Opener = (home: string, options: { readonly durability: 'none' }) => Driver

/** A file system of its own to unpack into. */
export class LayerLab implements Disposable {
  readonly fs: LoopFileSystem
  readonly #open: Opener
  #count = 0

  constructor(fs: LoopFileSystem = loopFileSystem('tmpfs'), open: Opener = openOverlay2) {
    this.fs = fs
    this.#open = open
  }

  /** A new empty folder. */
  dir(): string {
    const dir = join(this.fs.dir, `dir-${String(this.#count++)}`)
    mkdirSync(dir, { mode: 0o755 })
    return dir
  }

  /** Unpacks a layer, without settling it. */
  async apply(
    layer: LayerSpec,
    options: Partial<ApplyLayerOptions> = {},
    chunkSize?: number,
  ): Promise<Unpacked> {
    const dir = this.dir()
    const fd = openSync(dir, OPEN_DIR)
    try {
      const stream = streamOf(bytesOf(layer), chunkSize)
      return { dir, notes: await applyLayer(fd, stream, options) }
    } finally {
      closeSync(fd)
    }
  }

  /** Unpacks a layer and settles it as a base layer. */
  async base(layer: LayerSpec): Promise<string> {
    const { dir, notes } = await this.apply(layer)
    const fd = openSync(dir, OPEN_DIR)
    try {
      await settleLayer(fd, undefined, notes)
    } finally {
      closeSync(fd)
    }
    return dir
  }

  /** The merged content of layers, base first, as the kernel shows it; `size` is the top layer's. */
  async merged(
    layers: readonly LayerSpec[],
    options: DumpOptions = {},
  ): Promise<{ lines: string[]; size: number }> {
    const driver = this.#open(join(this.fs.dir, `root-${String(this.#count++)}`, 'driver'), {
      durability: 'none',
    })
    let parent: string | undefined
    let size = 0
    for (const [i, layer] of layers.entries()) {
      await using staged = await driver.stage()
      await staged.apply(streamOf(bytesOf(layer)))
      size = await staged.settle(parent)
      await staged.commit(`layer${String(i)}`, parent)
      parent = `layer${String(i)}`
    }
    if (parent === undefined) throw new RangeError('no layers')
    // A whole tree does not tell that a file was given again as it was.
    if (driver.name === 'overlay2' && size !== (await driver.diffSize(parent, await driver.parent(parent))))
      throw new Error(`size ${String(size)} is wrong`)
    await using view = await driver.open(parent, { readOnly: true })
    return { lines: await dumpTree(`/proc/self/fd/${String(view.fd.fd)}/.`, options), size }
  }

  /** What {@link merged} should be, built by itself. */
  async expected(nodes: readonly TreeNode[], options: DumpOptions = {}): Promise<string[]> {
    const dir = this.dir()
    await tree(dir, nodes)
    return dumpTree(dir, options)
  }

  [Symbol.dispose](): void {
    this.fs.dispose()
  }
}

function bytesOf(layer: LayerSpec): Buffer {
  return Buffer.isBuffer(layer) ? layer : rawTar(layer)
}
