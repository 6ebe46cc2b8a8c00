/**
 * From a blob to files: decompress → diffID → unpack, with the tar-split record written beside, in one pass and with
 * bounded memory. Needs no parent and no lock, so that layers of one image unpack side by side.
 */
import { createWriteStream } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import type { StagedLayer } from '../driver/driver.ts'
import { failpoint } from '../fs/failpoint.ts'
import { archiveSums } from '../native/sums.ts'
import { lineWriter } from '../native/tar-run.ts'
import { checkDigest, type DiffID } from '../oci/digest.ts'
import { abortable } from '../tar/abortable.ts'
import { type ByteStream, byteSource } from '../tar/byte-source.ts'
import type { TarLimits } from '../tar/entry.ts'
import { TarSplitWriter } from '../tar/tar-split.ts'
import { openTar } from '../transfer/tar-source.ts'
import type { StoreContext } from './context.ts'
import { TAR_SPLIT } from './layer-db.ts'
import { MODES } from './paths.ts'

export interface UnpackOptions {
  /** What the tar must be; without it, whatever it is. */
  readonly expected?: DiffID
  /** For messages: `layer 2 of alpine`. */
  readonly what: string
  readonly limits?: TarLimits
  readonly signal?: AbortSignal
}

/** A layer on disk that nothing names yet. */
export interface UnpackedLayer {
  readonly staged: StagedLayer
  /** Path of the finished tar-split file; it goes with the staging folder unless it is moved. */
  readonly tarSplit: string
  readonly diffID: DiffID
  /** Bytes as moby counts them, before the layer is settled on its parent. */
  readonly size: number
}

/**
 * Unpacks a blob, compressed or not, into the driver's staging area. Whoever gets the result discards it, or commits.
 * @throws ERR_DIGEST_MISMATCH, ERR_BAD_TAR, ERR_BAD_COMPRESSION, ERR_UNSAFE_PATH, ERR_LIMIT_EXCEEDED; nothing is left
 */
export async function unpackLayer(
  store: StoreContext,
  blob: ByteStream,
  options: UnpackOptions,
): Promise<UnpackedLayer> {
  const staged = await store.driver.stage()
  try {
    const tarSplit = join(staged.path, TAR_SPLIT)
    const tar = await opened(blob, options)
    const { size, diffID } = await applyRecorded(staged, tar, tarSplit, options)
    if (options.expected !== undefined) checkDigest(diffID, options.expected, options.what)
    failpoint('layer.unpack.done')
    return { staged, tarSplit, diffID, size }
  } catch (error) {
    await discardQuietly(store, staged)
    throw error
  }
}

/** Its first bytes may be long in coming. What an abort left behind is closed when they come. */
async function opened(blob: ByteStream, { what, signal }: UnpackOptions): Promise<ByteStream> {
  const opening = openTar(blob, what)
  try {
    return await abortable(opening, signal)
  } catch (error) {
    void opening.then((tar) => byteSource(tar).close()).catch(() => undefined)
    throw error
  }
}

/** Unpacks while the record is written; both have ended when this returns or throws, and the first error counts. */
async function applyRecorded(
  staged: StagedLayer,
  tar: ByteStream,
  tarSplit: string,
  { limits, signal }: UnpackOptions,
): Promise<{ size: number; diffID: DiffID }> {
  const recorder = new TarSplitWriter(archiveSums(), lineWriter())
  const saving = pipeline(recorder.output, createWriteStream(tarSplit, { flags: 'wx', mode: MODES.openFile }))
  const applying = staged.apply(tar, {
    observer: recorder,
    ...(limits !== undefined && { limits }),
    ...(signal !== undefined && { signal }),
  })
  const ended = applying.then(
    () => recorder.end(),
    (error: unknown) => {
      recorder.destroy(error)
    },
  )
  const [applied, recorded, saved] = await Promise.allSettled([applying, ended, saving])
  if (applied.status === 'rejected') throw applied.reason
  if (saved.status === 'rejected') throw saved.reason
  if (recorded.status === 'rejected') throw recorded.reason
  return { size: applied.value, diffID: `sha256:${recorder.digest.toString('hex')}` as DiffID }
}

/** The error on its way counts; a staging folder that stays is rubbish that gc removes. */
export async function discardQuietly(store: StoreContext, staged: StagedLayer): Promise<void> {
  try {
    await staged.discard()
  } catch (error) {
    store.warn(`could not remove ${staged.path}: ${error instanceof Error ? error.message : String(error)}`)
  }
}
