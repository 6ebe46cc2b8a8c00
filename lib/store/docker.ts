/** What dockerd keeps in the root beside layers and images: its containers, its build cache, its locks. */
import { closeSync, constants, openSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { hasCode } from '../errors.ts'
import { binding } from '../native/binding.ts'
import { type Digest, isDigest } from '../oci/digest.ts'
import { listFolder } from './claim.ts'

/** A container that dockerd made, from its config.v2.json. */
export interface DockerContainer {
  readonly id: string
  /** Without the leading slash. */
  readonly name: string
  /** The storage driver it was made with. */
  readonly driver: string
  readonly imageID: Digest
  /** The image as it was named at creation. */
  readonly imageName: string
  readonly created?: string
  /** The container's own `Config`, as it is in the file. */
  readonly config: object
}

/** All containers of dockerd's that can be read. */
export async function dockerContainers(root: string): Promise<DockerContainer[]> {
  const containers: DockerContainer[] = []
  for (const name of await listFolder(join(root, 'containers'))) {
    const container = await readContainer(join(root, 'containers', name, 'config.v2.json'))
    if (container !== undefined) containers.push(container)
  }
  return containers
}

async function readContainer(path: string): Promise<DockerContainer | undefined> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR')) return undefined
    throw error
  }
  const json = JSON.parse(text) as Record<string, unknown>
  const { ID: id, Name: name, Image: image, Driver: driver, Config: config, Created: created } = json
  if (typeof id !== 'string' || typeof name !== 'string' || !isDigest(image)) return undefined
  const { Image: imageName } = (config ?? {}) as { Image?: unknown }
  return {
    id,
    name: name.replace(/^\//, ''),
    driver: typeof driver === 'string' ? driver : '',
    imageID: image as Digest,
    imageName: typeof imageName === 'string' ? imageName : image,
    ...(typeof created === 'string' && { created }),
    config: (config ?? {}) as object,
  }
}

/** Whether a dockerd runs on the root: it holds flock(2) on its databases. False where that may not be read. */
export async function isDockerdRunning(root: string): Promise<boolean> {
  const databases = (await listFolder(join(root, 'buildkit'))).filter((name) => name.endsWith('.db'))
  const paths = [join(root, 'volumes/metadata.db'), ...databases.map((name) => join(root, 'buildkit', name))]
  for (const path of paths) if (await isLocked(path)) return true
  return false
}

async function isLocked(path: string): Promise<boolean> {
  let fd: number
  try {
    fd = openSync(path, constants.O_RDONLY)
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'EACCES')) return false
    throw error
  }
  try {
    return !(await binding.flock(fd, 'read'))
  } finally {
    closeSync(fd)
  }
}
