/** New image configs: what a commit and an import write. The fields are docker's, in docker's (sorted) order. */
import type { ContainerConfig, HistoryStep, ImageConfig } from './config.ts'
import { type DiffID, EMPTY_TAR_DIFF_ID } from './digest.ts'
import { type Platform, hostPlatform } from './platform.ts'

/** What a commit adds to its parent image. */
export interface CommitFacts {
  /** Of the layer with the changes; without one, or with the empty archive's, the image gets no layer. */
  readonly diffID?: DiffID
  readonly created: Date
  /** The parent's config with the changes asked for: see change.ts. */
  readonly config: ContainerConfig
  readonly author?: string
  readonly comment?: string
  /** What made the changes; default: the parent's command, as docker has it. */
  readonly createdBy?: string
  /** Full id of the container. */
  readonly container?: string
}

/**
 * The bytes of the config of a committed image.
 * @see moby image.NewChildImage
 */
export function commitConfig(parent: ImageConfig, facts: CommitFacts): Buffer {
  const { author, comment, container, config } = facts
  const created = facts.created.toISOString()
  const added = layersOf(facts.diffID)
  const step: HistoryStep = {
    created,
    created_by: facts.createdBy ?? (parent.config?.Cmd ?? []).join(' '),
    author: filled(author),
    comment: filled(comment),
    ...emptyLayer(added),
  }
  // Of the parent's other fields only what names its platform stays; the rest told of the parent's own making.
  const { architecture, os, variant, 'os.version': version, 'os.features': features } = parent
  return serialize({
    architecture,
    author: filled(author),
    config,
    container,
    created,
    history: [...(parent.history ?? []), step],
    os,
    'os.version': version,
    'os.features': features,
    rootfs: rootfs([...parent.rootfs.diff_ids, ...added]),
    variant,
  })
}

/** What an import makes an image of. */
export interface ImportFacts {
  readonly diffID: DiffID
  readonly created: Date
  readonly config: ContainerConfig
  readonly comment?: string
  /** Default: this machine's. */
  readonly platform?: Platform
}

/** The bytes of the config of an image imported from a root file system. */
export function importConfig(facts: ImportFacts): Buffer {
  const { comment, config } = facts
  const { os, architecture, variant } = facts.platform ?? hostPlatform()
  const created = facts.created.toISOString()
  const layers = layersOf(facts.diffID)
  return serialize({
    architecture,
    comment: filled(comment),
    config,
    created,
    history: [{ created, comment: filled(comment), ...emptyLayer(layers) }],
    os,
    rootfs: rootfs(layers),
    variant,
  })
}

function layersOf(diffID: DiffID | undefined): DiffID[] {
  return diffID === undefined || diffID === EMPTY_TAR_DIFF_ID ? [] : [diffID]
}

function emptyLayer(layers: readonly DiffID[]): { empty_layer?: true } {
  return layers.length === 0 ? { empty_layer: true } : {}
}

function filled(text: string | undefined): string | undefined {
  return text === '' ? undefined : text
}

function rootfs(diffIDs: readonly DiffID[]): ImageConfig['rootfs'] {
  return { type: 'layers', diff_ids: diffIDs }
}

/** Sorted keys, so that the same image has the same id whoever derives it; absent fields are left out. */
function serialize(config: Record<string, unknown>): Buffer {
  const sorted = Object.entries(config).sort(([a], [b]) => (a < b ? -1 : 1))
  return Buffer.from(JSON.stringify(Object.fromEntries(sorted)))
}
