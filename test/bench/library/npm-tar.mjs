/** Unpacks an archive with the npm package `tar`; in ms. */
import { mkdirSync } from 'node:fs'
import { extract } from 'tar'
import { task, timed } from './task.mjs'

await task(async (_, /** @type {{ archive: string, files: string }} */ { archive, files }) => {
  mkdirSync(files)
  return timed(() => extract({ file: archive, cwd: files, preserveOwner: true }))
})
