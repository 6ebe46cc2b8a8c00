/**
 * Docker archives, written: manifest.json, `<image id>.json`, `<diffID>.tar`. The names are skopeo's: docker since
 * 1.10, containerd, podman and skopeo take the paths from manifest.json. What Docker before 1.10 read (`repositories`
 * and a folder for each layer) is left out.
 */
import {
  type DockerManifestEntry,
  DOCKER_MANIFEST_FILE,
  formatDockerManifest,
} from '../oci/docker-manifest.ts'
import { hexOf } from '../oci/digest.ts'
import { familiar, parseReference } from '../oci/reference.ts'
import type { ExportImage, ExportLayer } from './source.ts'
import type { ArchivePart } from './write.ts'

/** The files of a docker archive. */
export function dockerParts(images: readonly ExportImage[]): ArchivePart[] {
  const configs = images.map((image) => ({ path: configPath(image), bytes: image.configBytes }))
  const layers = images
    .flatMap((image) => image.layers)
    .map((layer) => ({ path: layerPath(layer), body: layer }))
  const manifest = formatDockerManifest(images.map(entryOf))
  return [{ path: DOCKER_MANIFEST_FILE, bytes: manifest }, ...configs, ...layers]
}

function entryOf(image: ExportImage): DockerManifestEntry {
  return {
    Config: configPath(image),
    RepoTags: image.names.flatMap(tagOf),
    Layers: image.layers.map(layerPath),
  }
}

function configPath({ id }: ExportImage): string {
  return `${hexOf(id)}.json`
}

function layerPath({ diffID }: ExportLayer): string {
  return `${hexOf(diffID)}.tar`
}

/** A name by digest is of a manifest in a registry, which is not here: only tags go along. */
function tagOf(name: string): string[] {
  const reference = parseReference(name)
  return reference.digest === undefined ? [familiar(reference)] : []
}
