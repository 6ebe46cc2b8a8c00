/** Command lines of zfs, and what is made of what it prints: recorded from a real one, see test/fixtures/zfs. */
import { describe, expect, it } from 'vitest'
import { hasReason, zfs } from '../../lib/driver/zfs/command.ts'
import {
  cloneSnapshot,
  createDataset,
  datasetExists,
  destroyDataset,
  destroySnapshot,
  listDatasets,
  listSnapshots,
  readProperties,
  renameDataset,
  setQuota,
  snapshotDataset,
} from '../../lib/driver/zfs/datasets.ts'
import { type FakeZfs, fakeZfs, recorded } from '../helpers/fake-zfs.ts'

const SNAPSHOT = 'recorded/base@overlaid:7:x'

const lines = (fake: FakeZfs): string[] => fake.calls().map(({ args }) => args.join(' '))

/** The error of work that fails. */
async function failure(work: Promise<unknown>): Promise<unknown> {
  return await work.then(
    () => expect.fail('it did not fail'),
    (error: unknown) => error,
  )
}

describe('the command zfs', () => {
  it('gets an argv of its own for each step, and nothing of the environment', async () => {
    using fake = fakeZfs()
    await createDataset('recorded/base')
    await snapshotDataset(SNAPSHOT)
    await cloneSnapshot(SNAPSHOT, 'recorded/child')
    await destroySnapshot(SNAPSHOT)
    await setQuota('recorded/child', 64 << 20)
    await renameDataset('recorded/base', 'recorded/overlaid:7:trash:1')
    await destroyDataset('recorded/overlaid:7:trash:1')
    expect(lines(fake)).toEqual([
      'create -o mountpoint=legacy recorded/base',
      'snapshot recorded/base@overlaid:7:x',
      'clone -o mountpoint=legacy recorded/base@overlaid:7:x recorded/child',
      'destroy -d recorded/base@overlaid:7:x',
      'set quota=67108864 recorded/child',
      'rename recorded/base recorded/overlaid:7:trash:1',
      'destroy -r recorded/overlaid:7:trash:1',
    ])
    for (const { env } of fake.calls()) expect(env).toEqual({ LC_ALL: 'C' })
  })

  it('lists datasets and snapshots, and reads properties', async () => {
    using fake = fakeZfs()
    expect(await listDatasets('recorded')).toEqual([
      { name: 'recorded/base', origin: undefined, used: 24576 },
      { name: 'recorded/child', origin: SNAPSHOT, used: 0 },
    ])
    expect(await listSnapshots('recorded')).toEqual([{ name: SNAPSHOT, isDeferred: false }])
    expect(await listSnapshots('recorded')).toEqual([{ name: SNAPSHOT, isDeferred: true }])
    expect(await datasetExists('recorded/base')).toBe(true)
    expect(await datasetExists('recorded/none')).toBe(false)
    expect(await readProperties('recorded/child', 'quota', 'used', 'refquota', 'referenced')).toEqual({
      quota: '67108864',
      used: '0',
      refquota: '0',
      referenced: '24576',
    })
    expect(lines(fake)[0]).toBe('list -Hp -t filesystem -d 1 -o name,origin,used recorded')
  })

  it('lists nothing where nothing is', async () => {
    const args = ['list', '-Hp', '-t', 'snapshot', '-d', '2', '-o', 'name,defer_destroy', 'recorded']
    using _fake = fakeZfs([{ args }])
    expect(await listSnapshots('recorded')).toEqual([])
  })

  const REASONS: Readonly<Record<string, readonly [reason: string, code: string]>> = {
    'dataset already exists': ['exists', 'ERR_ALREADY_EXISTS'],
    'parent does not exist': ['missing', 'ERR_ZFS'],
    'no such pool': ['missing', 'ERR_ZFS'],
    'dataset does not exist': ['missing', 'ERR_ZFS'],
    'size is less than current': ['other', 'ERR_ZFS'],
    'has dependent clones': ['dependents', 'ERR_IN_USE'],
    'dataset is busy': ['busy', 'ERR_IN_USE'],
    'permission denied': ['forbidden', 'ERR_NO_PRIVILEGE'],
    'must be run as root': ['forbidden', 'ERR_NO_PRIVILEGE'],
  }

  const refusals = recorded().filter(({ stderr }) => stderr !== undefined)

  it.each(refusals)('says why it failed: $stderr', async (refusal) => {
    using _fake = fakeZfs([refusal])
    const { args, stderr = '' } = refusal
    const [reason, code] = Object.entries(REASONS).find(([words]) => stderr.includes(words))?.[1] ?? []
    const error = await failure(zfs(...args))
    expect(error).toMatchObject({ reason, code, hint: expect.any(String) as string })
    const { message } = error as Error
    expect(message).toContain(`zfs ${args.join(' ')}: ${stderr.split('\n')[0] ?? ''}`)
    expect(message).not.toMatch(/usage|\n/)
  })

  it('that is missing a dataset to destroy has done what was asked', async () => {
    const args = ['destroy', '-r', 'recorded/child']
    using fake = fakeZfs(recorded().filter((one) => one.stderr?.includes('does not exist') === true))
    await destroyDataset('recorded/child')
    expect(lines(fake)).toEqual([args.join(' ')])
  })

  it('is tried again while a dataset is busy, and not for ever', async () => {
    const busy = recorded().filter((one) => one.stderr?.includes('is busy') === true)
    {
      using fake = fakeZfs([...busy, ...busy, { args: ['destroy', '-r', 'recorded/child'] }])
      await destroyDataset('recorded/child')
      expect(fake.calls()).toHaveLength(3)
    }
    using fake = fakeZfs(busy)
    expect(hasReason(await failure(destroyDataset('recorded/child')), 'busy')).toBe(true)
    expect(fake.calls()).toHaveLength(4)
  })

  it('tells what it cannot make sense of in the words of the program', async () => {
    using _fake = fakeZfs([])
    await expect(createDataset('recorded/x')).rejects.toMatchObject({
      code: 'ERR_ZFS',
      message:
        'zfs create -o mountpoint=legacy recorded/x: not recorded: create -o mountpoint=legacy recorded/x',
    })
  })

  it('is not started at all where it is not installed', async () => {
    const before = process.env['PATH']
    process.env['PATH'] = '/nonexistent'
    try {
      await expect(createDataset('recorded/x')).rejects.toMatchObject({ code: 'ERR_NO_PROGRAM' })
    } finally {
      process.env['PATH'] = before
    }
  })

  it.each([
    '',
    '/',
    'a//b',
    'a/',
    '-r',
    'a/-r',
    'a/..',
    'a b/c',
    'a/b@',
    'a@b@c',
    'a/%',
    "a/'b'",
    'a/b\nc',
    'a/é',
    `a/${'x'.repeat(254)}`,
  ])('never gets the name %j', async (name) => {
    using fake = fakeZfs()
    const refusal = { code: 'ERR_INVALID_ARGUMENT' }
    await expect(createDataset(name)).rejects.toMatchObject(refusal)
    await expect(renameDataset('recorded/a', name)).rejects.toMatchObject(refusal)
    await expect(cloneSnapshot(name, 'recorded/a')).rejects.toMatchObject(refusal)
    await expect(listDatasets(name)).rejects.toMatchObject(refusal)
    expect(fake.calls()).toEqual([])
  })
})
