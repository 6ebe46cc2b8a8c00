/** Images: their configs, what is noted of them, and their names. */
import { copyFile, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { chainIDs } from '../oci/chain-id.ts'
import { type Digest, hexOf, isDigest } from '../oci/digest.ts'
import { namesOf, type Repositories, setReference } from '../oci/repositories.ts'
import { parseReference } from '../oci/reference.ts'
import { listFolder } from './claim.ts'
import type { Finding } from './check-finding.ts'
import type { StoreContext } from './context.ts'
import type { ImageState, Inventory } from './inventory.ts'
import { readReferences, writeReferences } from './references.ts'

export async function checkImages(store: StoreContext, inventory: Inventory): Promise<Finding[]> {
  return [
    ...inventory.images.flatMap((image) => checkImage(inventory, image)),
    ...(await checkNotes(store, inventory)),
    ...checkNames(store, inventory),
  ]
}

function checkImage(inventory: Inventory, image: ImageState): Finding[] {
  const { id, path, hasDigest, fault } = image
  const findings: Finding[] = []
  if (!hasDigest)
    findings.push({
      kind: 'changed-image-config',
      path,
      detail: `the config of ${called(inventory, id)} was changed`,
    })
  else if (fault !== undefined) findings.push({ kind: 'bad-image-config', path, detail: fault })
  return [...findings, ...missingLayers(inventory, image)]
}

/** The lowest layer that is missing: those above it cannot be used either. */
function missingLayers(inventory: Inventory, { id, path, diffIDs = [] }: ImageState): Finding[] {
  const ids = chainIDs(diffIDs)
  const lowest = ids.findIndex((chainID) => !inventory.layers.has(chainID))
  if (lowest < 0) return []
  const which = `layer ${String(lowest + 1)} of ${String(ids.length)}, ${ids[lowest] ?? ''},`
  const detail = `${which} of ${called(inventory, id)} is not in the store: load the image again`
  return [{ kind: 'missing-image-layer', path, detail }]
}

/** By its names, where it has any: that is what one loads again. */
export function called({ names }: Inventory, id: Digest): string {
  const known = names === undefined ? [] : namesOf(names, id)
  return known.length === 0 ? id : known.join(', ')
}

async function checkNotes({ paths }: StoreContext, { images }: Inventory): Promise<Finding[]> {
  const known = new Set(images.map(({ id }) => hexOf(id)))
  const left = (await listFolder(paths.imageMetadata)).filter(
    (hex) => isDigest(`sha256:${hex}`) && !known.has(hex),
  )
  return left.map((hex) => {
    const path = join(paths.imageMetadata, hex)
    const mend = () => rm(path, { recursive: true, force: true })
    return { kind: 'stale-image-notes', path, detail: `there is no image sha256:${hex}`, mend }
  })
}

function checkNames(store: StoreContext, { names, images }: Inventory): Finding[] {
  const path = store.paths.repositories
  const known = new Set(images.map(({ id }) => id))
  if (names === undefined) {
    const detail = 'it is not the JSON that dockerd and overlaid write'
    return [{ kind: 'bad-names', path, detail, mend: () => salvageNames(store, known) }]
  }
  const all = [...names.values()].flatMap((references) => [...references])
  return all
    .filter(([, id]) => !known.has(id))
    .map(([name, id]) => ({
      kind: 'dangling-name',
      path,
      detail: `${name} names ${id}, which is not in the store`,
      mend: () => forgetName(store, name),
    }))
}

async function forgetName({ paths, durability }: StoreContext, name: string): Promise<void> {
  const names = await readReferences(paths)
  // By its very key: one that another tool wrote may not be as we would write it.
  for (const [repository, references] of names) {
    if (references.delete(name) && references.size === 0) names.delete(repository)
  }
  await writeReferences(paths, names, durability)
}

/** One key and value of the inner maps; a name has no quotes or backslashes in it. */
const PAIR = /"([^"\\]+)"\s*:\s*"(sha256:[0-9a-f]{64})"/g

/** Keeps what can still be read, and beside our own files the old file, for whoever wants to look further. */
async function salvageNames({ paths, durability }: StoreContext, known: ReadonlySet<Digest>): Promise<void> {
  await copyFile(paths.repositories, join(paths.own, 'repositories.json.damaged'))
  const text = await readFile(paths.repositories, 'latin1')
  const names: Repositories = new Map()
  for (const [, name = '', id] of text.matchAll(PAIR)) {
    if (known.has(id as Digest) && isReference(name)) setReference(names, parseReference(name), id as Digest)
  }
  await writeReferences(paths, names, durability)
}

function isReference(name: string): boolean {
  try {
    parseReference(name)
    return true
  } catch {
    // ERR_INVALID_REFERENCE: half a name.
    return false
  }
}
