/** The note that the driver was verified: kept while nothing can have changed, and no longer. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openOverlay2 } from '../../lib/driver/overlay2/driver.ts'
import { OpenRoot } from '../../lib/store/open-root.ts'
import { isVerified, noteVerified } from '../../lib/store/verified.ts'
import { missing } from '../helpers/gates.ts'
import { loopFileSystem, type LoopFileSystem } from '../helpers/loopfs.ts'
import { watchLeaks } from '../helpers/mounts.ts'

let fs: LoopFileSystem
beforeEach(() => {
  fs = loopFileSystem('ext4')
})
afterEach(() => fs.dispose())
watchLeaks(() => [fs.dir])

function open(): OpenRoot {
  const driver = openOverlay2(join(fs.dir, 'overlay2'), { durability: 'none' })
  return new OpenRoot({
    root: fs.dir,
    selection: { driver },
    durability: 'none',
    readOnly: false,
    onWarning: () => {},
  })
}

describe.skipIf(missing('canMount', 'canLoop'))('verified', () => {
  it('is noted by the first writer, and believed by the next', async () => {
    const store = open()
    expect(await isVerified(store)).toBe(false)
    await store.prepare()
    expect(await isVerified(open())).toBe(true)
  })

  it('is not believed of another boot, another user namespace, another form', async () => {
    const store = open()
    await store.prepare()
    const noted = JSON.parse(readFileSync(store.paths.verified, 'utf8')) as object
    for (const change of [{ bootID: 'x' }, { userNamespace: 'user:[1]' }, { form: 0 }]) {
      writeFileSync(store.paths.verified, JSON.stringify({ ...noted, ...change }))
      expect(await isVerified(store)).toBe(false)
    }
    writeFileSync(store.paths.verified, '{"form":')
    expect(await isVerified(store)).toBe(false)
    await noteVerified(store)
    expect(await isVerified(store)).toBe(true)
  })

  it('is asked anew of a file system that was unmounted and changed meanwhile', async () => {
    await open().prepare()
    fs.offline(() => {})
    const again = open()
    expect(await isVerified(again)).toBe(false)
    await again.prepare()
    expect(await isVerified(again)).toBe(true)
  })

  it('keeps a root that has the note and not all its folders working', async () => {
    mkdirSync(join(fs.dir, 'overlaid'))
    const store = open()
    await store.prepare()
    expect(readFileSync(store.paths.version, 'utf8')).toBe('1\n')
  })
})
