/**
 * One diff through the built library, in a process that has made one before, as a service has.
 *
 *     node diff-once.mjs MODE HOME ID PARENT [OUT]
 *
 * MODE is `file` (written to OUT by descriptor), `stream` (OUT by its chunks), `sha256` (the same and a digest of the
 * chunks), `changes` (the list, printed) or `two-walks` (the same list by comparing the merged trees). Prints the
 * nanoseconds on the last line.
 */
import { createHash } from 'node:crypto'
import { open } from 'node:fs/promises'
import { join } from 'node:path'

const [mode = '', home = '', id = '', parent = '', out = ''] = process.argv.slice(2)
const dist = join(import.meta.dirname, '../../dist')
/** @type {typeof import('../../lib/driver/overlay2/driver.ts')} */
const { openOverlay2 } = await import(join(dist, 'driver/overlay2/driver.js'))
/** @type {typeof import('../../lib/fs/walk.ts')} */
const { walk } = await import(join(dist, 'fs/walk.js'))
const driver = openOverlay2(home, { durability: 'none' })

/** @param {string} path @param {string} how */
async function write(path, how) {
  const file = await open(path, 'w')
  const tar = driver.diff(id, parent)
  if (how === 'file') await tar.writeTo(file.fd)
  else await writeChunks(tar, file, how === 'sha256')
  await file.close()
}

/** @param {AsyncIterable<Buffer>} tar @param {import('node:fs/promises').FileHandle} file @param {boolean} hashed */
async function writeChunks(tar, file, hashed) {
  const hash = createHash('sha256')
  for await (const chunk of tar) {
    if (hashed) hash.update(chunk)
    await file.writeFile(chunk)
  }
  hash.digest()
}

async function listChanges() {
  const list = []
  for await (const { kind, path } of driver.changes(id, parent)) list.push(`${kind} ${path.toString()}`)
  return list
}

/** @param {number} fd */
async function readTree(fd) {
  /** @type {Map<string, readonly number[]>} */
  const tree = new Map()
  for await (const entries of walk(fd, { xattrs: false })) {
    for (const { path, stat } of entries) {
      const isFolder = (stat.mode & 0o170000) === 0o040000
      const content = isFolder ? [] : [stat.size, stat.mtimeSec, stat.mtimeNsec]
      tree.set(`/${path.toString()}`, [stat.mode, stat.uid, stat.gid, ...content])
    }
  }
  return tree
}

/** The merged view, mounted, and its parent's: what moby's ChangesDirs compares, both at the same time. */
async function compareTrees() {
  const now = await driver.open(id, { readOnly: true })
  const before = await driver.open(parent, { readOnly: true })
  const [after, old] = await Promise.all([readTree(now.fd.fd), readTree(before.fd.fd)])
  await now[Symbol.asyncDispose]()
  await before[Symbol.asyncDispose]()
  /** @type {Map<string, string>} */
  const kinds = new Map()
  /** @param {string} path @param {string} kind */
  const add = (path, kind) => {
    kinds.set(path, kind)
    for (let at = path.lastIndexOf('/'); at > 0; at = path.lastIndexOf('/', at - 1)) {
      const folder = path.slice(0, at)
      if (!kinds.has(folder)) kinds.set(folder, old.has(folder) ? 'C' : 'A')
    }
  }
  for (const [path, facts] of after) {
    const was = old.get(path)
    if (was === undefined) add(path, 'A')
    else if (facts.some((fact, i) => fact !== was[i])) add(path, 'C')
  }
  for (const path of old.keys()) if (!after.has(path)) add(path, 'D')
  const sorted = [...kinds].sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
  return sorted.map(([path, kind]) => `${kind} ${path}`)
}

async function run() {
  if (mode === 'changes') return await listChanges()
  if (mode === 'two-walks') return await compareTrees()
  await write(out, mode)
  return []
}

if (out === '') await run()
else await write('/dev/null', mode === 'file' ? 'stream' : mode)
const start = process.hrtime.bigint()
const list = await run()
const taken = process.hrtime.bigint() - start
process.stdout.write([...list, `${String(taken)}\n`].join('\n'))
