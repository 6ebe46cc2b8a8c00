/** manifest.json of a docker-archive: the images in it, by the paths of their parts. */
import * as v from 'valibot'
import { decode, parseJSON } from './json.ts'

/** The file's name in the archive. */
export const DOCKER_MANIFEST_FILE = 'manifest.json'

export interface DockerManifestEntry {
  /** Path of the image config. */
  readonly Config: string
  /** Familiar references. */
  readonly RepoTags: readonly string[]
  /** Paths of the layer tars, base first. */
  readonly Layers: readonly string[]
}

const schema: v.GenericSchema<unknown, DockerManifestEntry[]> = v.array(
  v.object({
    Config: v.pipe(v.string(), v.nonEmpty()),
    RepoTags: v.nullish(v.array(v.string()), []),
    Layers: v.nullish(v.array(v.pipe(v.string(), v.nonEmpty())), []),
  }),
)

/** @throws ERR_BAD_MANIFEST */
export function parseDockerManifest(bytes: Buffer): DockerManifestEntry[] {
  return decode(schema, parseJSON(bytes, DOCKER_MANIFEST_FILE), DOCKER_MANIFEST_FILE)
}

/** The bytes of manifest.json, fields in docker's order and without tags null as docker writes it. */
export function formatDockerManifest(entries: readonly DockerManifestEntry[]): Buffer {
  const rows = entries.map(({ Config, RepoTags, Layers }) => ({
    Config,
    RepoTags: RepoTags.length > 0 ? RepoTags : null,
    Layers,
  }))
  return Buffer.from(JSON.stringify(rows))
}
