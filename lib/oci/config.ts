/**
 * The image config: what to run, and of which layers the image is made.
 *
 * Its bytes are what an image id is the digest of, so they are kept as they came and never written anew; this is
 * the reading of them. Unknown fields stay in the parsed form, and null counts as absent, as docker writes it.
 * @see OCI image-spec, config.md
 */
import * as v from 'valibot'
import { OverlaidError } from '../errors.ts'
import type { DiffID } from './digest.ts'
import { decode, digestField, maybe, parseJSON } from './json.ts'

/** How to check that a container is well. Durations in nanoseconds. */
export interface Healthcheck {
  readonly Test?: readonly string[] | undefined
  readonly Interval?: number | undefined
  readonly Timeout?: number | undefined
  readonly StartPeriod?: number | undefined
  readonly Retries?: number | undefined
  readonly [key: string]: unknown
}

/** How containers of an image run: the specification's `config` field. */
export interface ContainerConfig {
  readonly User?: string | undefined
  readonly ExposedPorts?: Readonly<Record<string, object>> | undefined
  readonly Env?: readonly string[] | undefined
  readonly Entrypoint?: readonly string[] | undefined
  readonly Cmd?: readonly string[] | undefined
  readonly Volumes?: Readonly<Record<string, object>> | undefined
  readonly WorkingDir?: string | undefined
  readonly Labels?: Readonly<Record<string, string>> | undefined
  readonly StopSignal?: string | undefined
  readonly Healthcheck?: Healthcheck | undefined
  readonly Shell?: readonly string[] | undefined
  readonly OnBuild?: readonly string[] | undefined
  readonly [key: string]: unknown
}

/** A step of an image's making. Steps that made no layer are `empty_layer`. */
export interface HistoryStep {
  /** RFC 3339. */
  readonly created?: string | undefined
  readonly created_by?: string | undefined
  readonly author?: string | undefined
  readonly comment?: string | undefined
  readonly empty_layer?: boolean | undefined
  readonly [key: string]: unknown
}

export interface ImageConfig {
  readonly architecture: string
  /** `linux` when the config does not say. */
  readonly os: string
  readonly variant?: string | undefined
  /** RFC 3339. */
  readonly created?: string | undefined
  readonly author?: string | undefined
  readonly config?: ContainerConfig | undefined
  /** Base layer first. */
  readonly rootfs: { readonly type: 'layers'; readonly diff_ids: readonly DiffID[] }
  readonly history?: readonly HistoryStep[] | undefined
  readonly [key: string]: unknown
}

/** Made when a first config is read: a schema is many objects, and `overlaid ps` reads none. */
let schema: v.GenericSchema<unknown, ImageConfig> | undefined

function imageConfig(): v.GenericSchema<unknown, ImageConfig> {
  const text = maybe(v.string())
  const historyStep = v.looseObject({
    created: text,
    created_by: text,
    author: text,
    comment: text,
    empty_layer: maybe(v.boolean()),
  })
  return v.looseObject({
    architecture: v.nullish(v.string(), ''),
    os: v.pipe(
      v.nullish(v.string(), ''),
      v.transform((os) => os || 'linux'),
    ),
    variant: text,
    created: text,
    author: text,
    config: maybe(containerConfig()),
    // An image of no layers has no diff_ids at all: docker leaves the empty list out.
    rootfs: v.looseObject({
      type: v.literal('layers'),
      diff_ids: v.nullish(v.array(digestField<DiffID>()), []),
    }),
    history: maybe(v.array(historyStep)),
  })
}

function containerConfig(): v.GenericSchema<unknown, ContainerConfig> {
  const text = maybe(v.string())
  const texts = maybe(v.array(v.string()))
  const command = commandField()
  const keys = keysField()
  return v.looseObject({
    User: text,
    ExposedPorts: keys,
    Env: texts,
    Entrypoint: command,
    Cmd: command,
    Volumes: keys,
    WorkingDir: text,
    Labels: maybe(v.record(v.string(), v.nullish(v.string(), ''))),
    StopSignal: text,
    Healthcheck: maybe(healthcheck()),
    Shell: texts,
    OnBuild: texts,
  })
}

function healthcheck(): v.GenericSchema<unknown, Healthcheck> {
  return v.looseObject({
    Test: maybe(v.array(v.string())),
    Interval: maybe(v.number()),
    Timeout: maybe(v.number()),
    StartPeriod: maybe(v.number()),
    Retries: maybe(v.number()),
  })
}

/** Docker before 1.10 wrote a command of one word as a string. */
function commandField(): v.GenericSchema<unknown, string[] | undefined> {
  const word = v.pipe(
    v.string(),
    v.transform((one) => [one]),
  )
  return maybe(v.union([v.array(v.string()), word]))
}

/** A set written as an object: only its keys mean something. */
function keysField(): v.GenericSchema<unknown, Record<string, object> | undefined> {
  const nothing = v.pipe(
    v.unknown(),
    v.transform(() => ({})),
  )
  return maybe(v.record(v.string(), nothing))
}

/**
 * Reads an image config.
 * @param what names it in messages
 * @throws ERR_BAD_MANIFEST when it does not have the form, or its history makes more layers than rootfs lists
 */
export function parseConfig(bytes: Buffer, what = 'the image config'): ImageConfig {
  schema ??= imageConfig()
  const config = decode(schema, parseJSON(bytes, what), what)
  const steps = (config.history ?? []).filter((step) => step.empty_layer !== true).length
  const layers = config.rootfs.diff_ids.length
  // Docker refuses to create such an image. Fewer steps than layers is common: squashed and hand-made images.
  if (steps > layers) {
    throw new OverlaidError(
      'ERR_BAD_MANIFEST',
      `${what}: its history makes ${String(steps)} layers, but rootfs lists ${String(layers)}`,
    )
  }
  return config
}
