/** Unpacks an archive of files and folders with the npm package `tar-stream` and node's own fs; in ms. */
import { createReadStream, createWriteStream, mkdirSync } from 'node:fs'
import { chmod, lchown, mkdir, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import tar from 'tar-stream'
import { task, timed } from './task.mjs'

/** @typedef {{ mode?: number, uid?: number, gid?: number, mtime?: Date }} Header */

/** @param {string} path @param {Header} header */
async function setMeta(path, { mode = 0o644, uid = 0, gid = 0, mtime = new Date(0) }) {
  await lchown(path, uid, gid)
  await chmod(path, mode)
  await utimes(path, mtime, mtime)
}

/** @param {string} archive @param {string} files */
async function unpack(archive, files) {
  /** Folders' times last: what is made in one changes its own. @type {[string, Header][]} */
  const folders = []
  const entries = createReadStream(archive, { highWaterMark: 1 << 20 }).pipe(tar.extract())
  for await (const entry of entries) {
    const { header } = entry
    const path = join(files, header.name)
    if (header.type === 'directory') {
      await mkdir(path, { recursive: true })
      folders.push([path, header])
      entry.resume()
    } else if (header.type === 'file') {
      await pipeline(entry, createWriteStream(path))
      await setMeta(path, header)
    } else throw new Error(`${header.name} is a ${String(header.type)}`)
  }
  for (const [path, header] of folders) await setMeta(path, header)
}

await task(async (_, /** @type {{ archive: string, files: string }} */ { archive, files }) => {
  mkdirSync(files)
  return timed(() => unpack(archive, files))
})
