/**
 * What dockerd keeps in the root beside layers and images, as far as it decides what may be removed: its containers,
 * the layers that its build cache needs, and the locks by which one sees that it runs. All of it is only read.
 */
import { closeSync, constants, createReadStream, lstatSync, openSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { hasCode } from '../errors.ts'
import { binding } from '../native/binding.ts'
import { type Digest, isDigest } from '../oci/digest.ts'
import { listFolder, listSmallFolder } from './claim.ts'

/** A container that dockerd made, from its config.v2.json. */
export interface DockerContainer {
  readonly id: string
  /** Without the leading slash. */
  readonly name: string
  /** The storage driver it was made with: another driver's containers are not in this driver's layers. */
  readonly driver: string
  readonly imageID: Digest
  /** The image as it was named at creation. */
  readonly imageName: string
  readonly created?: string
  /** What dockerd noted last; after a crash of the machine it may not be true any more. */
  readonly running: boolean
  readonly paused: boolean
  /** The container's own `Config`, as it is in the file. */
  readonly config: object
  /** `--storage-opt`, from the hostconfig.json beside it. */
  readonly storageOptions: { readonly size?: string }
}

/** A container's file that cannot be read: dockerd will skip that container. */
export interface DamagedContainer {
  readonly path: string
  readonly detail: string
}

/** All containers of dockerd's that can be read; what cannot be is check's to name. */
export async function dockerContainers(root: string): Promise<DockerContainer[]> {
  return (await scanDockerContainers(root)).containers
}

/** As {@link dockerContainers}, with those whose file does not have its form. */
export async function scanDockerContainers(
  root: string,
): Promise<{ readonly containers: DockerContainer[]; readonly damaged: DamagedContainer[] }> {
  const containers: DockerContainer[] = []
  const damaged: DamagedContainer[] = []
  for (const id of await listFolder(join(root, 'containers'))) {
    const path = join(root, 'containers', id, 'config.v2.json')
    const text = await readText(path)
    // dockerd makes the folder first and removes it last: one without the file is not a container.
    if (text === undefined) continue
    const container = parseContainer(id, text)
    if (typeof container === 'string') damaged.push({ path, detail: container })
    else containers.push({ ...container, storageOptions: await readStorageOptions(root, id) })
  }
  return { containers, damaged }
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR')) return undefined
    throw error
  }
}

/** The container in the text of its file, or what is wrong with that. */
function parseContainer(folder: string, text: string): Omit<DockerContainer, 'storageOptions'> | string {
  let document: unknown
  try {
    document = JSON.parse(text)
  } catch (error) {
    return `not JSON: ${(error as SyntaxError).message}`
  }
  const json = asRecord(document)
  const { ID: id, Name: name, Image: image, Driver: driver, Created: created } = json
  const [config, state] = [asRecord(json['Config']), asRecord(json['State'])]
  if (id !== folder) return `its ID is ${JSON.stringify(id)}, not the name of its folder`
  if (typeof name !== 'string') return 'it has no Name'
  if (!isDigest(image)) return `its Image ${JSON.stringify(image)} is not an image id`
  const imageName = config['Image']
  return {
    id,
    name: name.replace(/^\//, ''),
    // Before 1.10 there was no such field.
    driver: typeof driver === 'string' ? driver : '',
    imageID: image as Digest,
    imageName: typeof imageName === 'string' ? imageName : (image as string),
    ...(typeof created === 'string' && { created }),
    running: state['Running'] === true,
    paused: state['Paused'] === true,
    config,
  }
}

/** `HostConfig.StorageOpt`. Nothing where the file is missing or is no JSON: dockerd skips such a container. */
async function readStorageOptions(root: string, id: string): Promise<DockerContainer['storageOptions']> {
  const text = await readText(join(root, 'containers', id, 'hostconfig.json'))
  if (text === undefined) return {}
  try {
    const { size } = asRecord(asRecord(JSON.parse(text))['StorageOpt'])
    return typeof size === 'string' ? { size } : {}
  } catch (error) {
    if (error instanceof SyntaxError) return {}
    throw error
  }
}

function asRecord(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
}

/**
 * Whether a dockerd runs on the root: it holds flock(2) on its volumes' database and on its build cache's from its
 * start to its end. False where these may not be opened: whoever cannot read them cannot write the store either.
 */
export async function isDockerdRunning(root: string): Promise<boolean> {
  const paths = [join(root, 'volumes/metadata.db'), ...buildkitDatabases(root)]
  for (const path of paths) if (await isLocked(path)) return true
  return false
}

/** A shared lock for the instant of asking: a dockerd that starts just then waits for it up to a second. */
async function isLocked(path: string): Promise<boolean> {
  let fd: number
  try {
    // An error costs more than a look, and where no dockerd was it is not there.
    if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return false
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

function buildkitDatabases(root: string): string[] {
  const folder = join(root, 'buildkit')
  try {
    return listSmallFolder(folder)
      .filter((name) => name.endsWith('.db'))
      .map((name) => join(folder, name))
  } catch (error) {
    if (hasCode(error, 'EACCES')) return []
    throw error
  }
}

/** BuildKit's own folders of the driver's home: 25 base36 characters. */
const BUILDKIT_FOLDER = /^[0-9a-z]{25}(-init)?$/
const HEX_RUN = /[0-9a-f]{64,}/g
const HEX_DIGITS = 64

/**
 * Reads what BuildKit's databases mention. What is returned tells whether a chainID (`sha256:…`) or a folder of the
 * driver's home may be in use by the build cache. The databases are bolt files, which are searched as bytes rather
 * than parsed: a page that is free by now may still hold an old id, so this errs on the side of keeping. On a root
 * without `buildkit/` nothing is in use.
 * @throws EACCES where they may not be read, since then nothing may be removed
 */
export async function buildkitReferences(root: string): Promise<(id: string) => boolean> {
  const databases = (await listFolder(join(root, 'buildkit'))).filter((name) => name.endsWith('.db'))
  if (databases.length === 0) return () => false
  const mentioned = new Set<string>()
  for (const name of databases) await collectHex(join(root, 'buildkit', name), mentioned)
  return (id) => BUILDKIT_FOLDER.test(id) || mentioned.has(id.replace(/^sha256:|-init$/g, ''))
}

async function collectHex(path: string, into: Set<string>): Promise<void> {
  let rest = ''
  for await (const chunk of createReadStream(path, { encoding: 'latin1', highWaterMark: 1024 * 1024 })) {
    const text = rest + (chunk as string)
    for (const [run] of text.matchAll(HEX_RUN)) addWindows(run, into)
    rest = text.slice(1 - HEX_DIGITS)
  }
}

/** A key and its value touch each other in bolt, so an id may have hex digits of something else on either side. */
function addWindows(run: string, into: Set<string>): void {
  for (let at = 0; at + HEX_DIGITS <= run.length; at++) into.add(run.slice(at, at + HEX_DIGITS))
}
