/** Layers on their way in. */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { layerTar } from './archive.ts'
import { createBase, expectBase } from './base.ts'
import { type Cases, type Given, ID } from './cases.ts'
import { streamOf } from './streams.ts'

const ONE_FILE = [{ name: 'x', body: 'hello' }]

export function stagingCases(cases: Cases): void {
  cases.describe('stage', () => {
    cases.it('shows nothing before commit, everything after', showsAtCommit)
    cases.it('leaves nothing when discarded, twice too', leavesNothing)
    cases.it('takes one tar and one parent', takesOne)
    cases.it('unpacks the layers of a chain side by side', unpacksSideBySide)
    cases.it('keeps the staged layer when its id is taken', keepsStaged)
    cases.it('is never committed when its stream breaks, and lets go of everything', breaks)
    cases.it('stops when aborted, and leaves nothing', stopsWhenAborted)
    cases.it('is as good when discarded after its commit', discardedLate)
    cases.it('takes the place of a layer, below those that stand on it', takesThePlace)
  })
}

async function showsAtCommit(given: Given): Promise<void> {
  const { driver } = given
  const tar = await layerTar([{ name: 'etc/' }, { name: 'etc/motd', body: 'hello' }])
  await using staged = await driver.stage()
  assert.equal(await staged.apply(streamOf(tar)), 5)
  assert.deepEqual(await driver.list(), [])
  assert.deepEqual(await driver.check(new Map()), [])
  assert.equal(await staged.settle(undefined), 5)
  assert.equal(await staged.settle(undefined), 5)
  await staged.commit(ID('a'), undefined)
  assert.deepEqual(await driver.list(), [ID('a')])
  await given.inside(ID('a'), (root) => assert.equal(readFileSync(join(root, 'etc/motd'), 'utf8'), 'hello'))
}

async function leavesNothing({ driver }: Given): Promise<void> {
  const staged = await driver.stage()
  await staged.apply(streamOf(await layerTar(ONE_FILE)))
  await staged.discard()
  await staged.discard()
  assert.deepEqual(await driver.list(), [])
  assert.equal(existsSync(staged.path), false)
  assert.deepEqual(await driver.check(new Map()), [])
}

async function takesOne(given: Given): Promise<void> {
  const { driver } = given
  await createBase(given, ID('a'))
  const tar = await layerTar(ONE_FILE)
  await using staged = await driver.stage()
  await staged.apply(streamOf(tar))
  await assert.rejects(staged.apply(streamOf(tar)), { code: 'ERR_INVALID_ARGUMENT' })
  await assert.rejects(staged.settle(ID('f')), { code: 'ERR_LAYER_NOT_FOUND' })
  await staged.settle(ID('a'))
  await assert.rejects(staged.settle(undefined), { code: 'ERR_INVALID_ARGUMENT' })
  await staged.commit(ID('b'), ID('a'))
  assert.equal(await driver.parent(ID('b')), ID('a'))
}

async function unpacksSideBySide(given: Given): Promise<void> {
  const tars = await Promise.all([
    layerTar([
      { name: 'a', body: '1' },
      { name: 'd/', mode: 0o1777 },
    ]),
    layerTar([{ name: 'b', body: '2' }]),
    layerTar([{ name: 'c', body: '3' }]),
  ])
  const staged = await Promise.all(tars.map(() => given.driver.stage()))
  await Promise.all(staged.map((layer, index) => layer.apply(streamOf(tars[index] ?? Buffer.alloc(0)))))
  const ids = [ID('1'), ID('2'), ID('3')]
  for (const [index, layer] of staged.entries()) await layer.commit(ids[index] ?? '', ids[index - 1])
  await given.inside(ID('3'), (root) => assert.deepEqual(readdirSync(root).sort(), ['a', 'b', 'c', 'd']))
}

async function keepsStaged(given: Given): Promise<void> {
  await createBase(given, ID('a'))
  await using staged = await given.driver.stage()
  await staged.apply(streamOf(await layerTar(ONE_FILE)))
  await assert.rejects(staged.commit(ID('a'), undefined), { code: 'ERR_ALREADY_EXISTS' })
  await staged.commit(ID('b'), undefined)
  await given.inside(ID('a'), expectBase)
  await given.inside(ID('b'), (root) => assert.deepEqual(readdirSync(root), ['x']))
}

async function* broken(): AsyncGenerator<Buffer> {
  yield Buffer.alloc(512)
  await Promise.resolve()
  throw new Error('the network is gone')
}

async function breaks({ driver }: Given): Promise<void> {
  await using staged = await driver.stage()
  const refusal = { code: 'ERR_INVALID_ARGUMENT' }
  await assert.rejects(staged.apply(broken()), { message: 'the network is gone' })
  await assert.rejects(staged.settle(undefined), refusal)
  await assert.rejects(staged.commit(ID('a'), undefined), refusal)
  assert.deepEqual(await driver.list(), [])
  await staged.discard()
  assert.deepEqual(await driver.check(new Map()), [])
}

async function stopsWhenAborted({ driver }: Given): Promise<void> {
  const reason = new Error('enough')
  const tar = await layerTar([{ name: 'big', body: Buffer.alloc(1_000_000, 1) }])
  const staged = await driver.stage()
  const signal = AbortSignal.abort(reason)
  await assert.rejects(staged.apply(streamOf(tar), { signal }), reason)
  await staged.discard()
  assert.deepEqual(await driver.check(new Map()), [])
}

async function discardedLate(given: Given): Promise<void> {
  const staged = await given.driver.stage()
  await staged.apply(streamOf(await layerTar(ONE_FILE)))
  await staged.commit(ID('a'), undefined)
  await staged.discard()
  assert.equal(existsSync(staged.path), false)
  await given.inside(ID('a'), (root) => assert.deepEqual(readdirSync(root), ['x']))
}

async function takesThePlace(given: Given): Promise<void> {
  const { driver } = given
  await createBase(given, ID('a'))
  await given.unpack(ID('b'), ID('a'), await layerTar([{ name: 'damaged', body: '?' }]))
  await driver.createReadWrite(ID('c'), ID('b'))
  await using staged = await driver.stage()
  await staged.apply(streamOf(await layerTar(ONE_FILE)))
  await staged.replace(ID('b'), ID('a'))
  await given.inside(ID('b'), (root) =>
    assert.deepEqual(readdirSync(root).sort(), ['a file', 'a subdir', 'x']),
  )
  assert.equal(await driver.parent(ID('c')), ID('b'))
  assert.deepEqual((await driver.list()).sort(), [ID('a'), ID('b'), ID('c')])
}
