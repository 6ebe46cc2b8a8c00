/** Single files of a layer. */
import assert from 'node:assert/strict'
import { closeSync, readFileSync } from 'node:fs'
import { type Cases, type Given, ID } from './cases.ts'
import { dirAt, fifoAt, fileAt, symlinkAt } from './tree.ts'

export function readingCases(cases: Cases): void {
  cases.describe('openFiles', () => {
    cases.it('reads files of the layer and of those below, by the names of an archive', readsAll)
    cases.it('never leaves the layer, and opens nothing but files', staysInside)
  })
}

async function readsAll(given: Given): Promise<void> {
  await given.layer(ID('a'), undefined, [fileAt('usr/bin/a', 'lower'), symlinkAt('bin', 'usr/bin')])
  await given.layer(ID('b'), ID('a'), [fileAt('usr/bin/b', 'upper')])
  await using files = await given.driver.openFiles(ID('b'))
  const read = async (name: string): Promise<string> => {
    const fd = await files.open(Buffer.from(name))
    try {
      return readFileSync(fd, 'utf8')
    } finally {
      closeSync(fd)
    }
  }
  assert.equal(await read('usr/bin/b'), 'upper')
  assert.equal(await read('./usr/bin/b'), 'upper')
  assert.equal(await read('missing/../usr/bin/b'), 'upper')
  assert.equal(await read('bin/b'), 'upper')
  assert.equal(await read('/usr/bin/a'), 'lower')
}

async function staysInside(given: Given): Promise<void> {
  await given.layer(ID('a'), undefined, [
    symlinkAt('away', '/etc'),
    symlinkAt('direct', '/etc/passwd'),
    dirAt('dir'),
    fifoAt('fifo'),
  ])
  await using files = await given.driver.openFiles(ID('a'))
  for (const name of ['away/passwd', 'direct', '../../../etc/passwd', '/etc/passwd', 'dir', 'fifo', 'none']) {
    await assert.rejects(files.open(Buffer.from(name)), { code: 'ERR_DAMAGED' }, name)
  }
}
