import { describe, expect, it } from 'vitest'
import { findMount, mountOf, parseMountInfo, readMountInfo } from '../../lib/fs/mountinfo.ts'

const parse = (...lines: string[]): ReturnType<typeof parseMountInfo> =>
  parseMountInfo(Buffer.from(lines.join('\n')))
const at = (line: string): string | undefined => parse(line)[0]?.mountPoint.toString('latin1')

describe('parseMountInfo', () => {
  it('reads the example of proc(5)', () => {
    expect(
      parse('36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue', ''),
    ).toEqual([
      {
        id: 36n,
        parentID: 35n,
        fsType: 'ext3',
        mountPoint: Buffer.from('/mnt2'),
        root: Buffer.from('/mnt1'),
        source: '/dev/root',
        options: 'rw,noatime',
        superOptions: 'rw,errors=continue',
      },
    ])
  })

  it.each([
    ['no optional fields', '1 0 0:1 / /a rw - tmpfs none rw'],
    ['one', '1 0 0:1 / /a rw shared:7 - tmpfs none rw'],
    ['several', '1 0 0:1 / /a rw shared:7 master:1 propagate_from:2 unbindable - tmpfs none rw'],
    ['one that is no field at all', '1 0 0:1 / /a rw new-in-linux-9 - tmpfs none rw'],
  ])('finds the separator after %s', (_, line) => {
    expect(parse(line)).toMatchObject([{ fsType: 'tmpfs', source: 'none', superOptions: 'rw' }])
  })

  it.each([
    ['/with\\040space', '/with space'],
    ['/tab\\011', '/tab\t'],
    ['/line\\012end', '/line\nend'],
    ['/back\\134slash', '/back\\slash'],
    ['/hash\\043', '/hash#'],
    ['/\\134040', '/\\040'],
    ['/comma,colon:', '/comma,colon:'],
    ['/-', '/-'],
  ])('undoes the escapes of %s', (escaped, path) => {
    expect(at(`1 0 0:1 / ${escaped} rw - tmpfs none rw`)).toBe(path)
  })

  it('keeps bytes that are not UTF-8', () => {
    const line = Buffer.concat([
      Buffer.from('1 0 0:1 / /'),
      Buffer.from([0xff, 0xfe]),
      Buffer.from(' rw - tmpfs none rw'),
    ])
    expect(parseMountInfo(line)[0]?.mountPoint).toEqual(Buffer.from([0x2f, 0xff, 0xfe]))
  })

  it('reads an empty source, as of an overlay that was given none', () => {
    expect(parse('1 0 0:1 / /a rw - overlay  rw,lowerdir=/l')).toMatchObject([
      { source: '', superOptions: 'rw,lowerdir=/l' },
    ])
  })

  it('reads a line of 500 layers', () => {
    const lowers = Array.from(
      { length: 500 },
      (_, index) => `lowerdir+=/store/overlay2/l/${index.toString()}`,
    ).join(',')
    expect(parse(`1 0 0:1 / /a rw - overlay none ro,${lowers}`)[0]?.superOptions.length).toBeGreaterThan(
      14_000,
    )
  })

  it('leaves broken lines out and reads the rest', () => {
    const good = '1 0 0:1 / /a rw - tmpfs none rw'
    const bad = [
      '',
      'garbage',
      '1 0',
      'x 0 0:1 / /a rw - tmpfs none rw',
      '1 0 0:1 / /a rw shared:1 tmpfs none rw',
    ]
    expect(parse(...bad, good, ...bad).map(({ id }) => id)).toEqual([1n])
  })

  it('reads the table of this machine, of itself and by pid', async () => {
    const mounts = await readMountInfo()
    expect(mounts.some(({ mountPoint }) => mountPoint.toString() === '/')).toBe(true)
    expect((await readMountInfo(process.pid)).length).toBe(mounts.length)
  })
})

describe('mountOf', () => {
  const mounts = parse(
    '1 0 8:1 / / rw - ext4 /dev/sda1 rw',
    '2 1 8:2 / /var rw - xfs /dev/sda2 rw',
    '3 2 8:3 / /var/lib/docker rw - ext4 /dev/sda3 rw',
    '4 2 0:9 / /var/lib/docker rw - tmpfs over rw',
  )
  const source = (path: string): string | undefined => mountOf(mounts, Buffer.from(path))?.source

  it('is the nearest above a path, the topmost where several are', () => {
    expect(source('/')).toBe('/dev/sda1')
    expect(source('/etc/passwd')).toBe('/dev/sda1')
    expect(source('/var')).toBe('/dev/sda2')
    expect(source('/var/lib/docker/overlay2')).toBe('over')
  })

  it('does not take a name for a folder that only begins like it', () => {
    expect(source('/various')).toBe('/dev/sda1')
    expect(source('/var/lib/docker2')).toBe('/dev/sda2')
  })

  it('is nothing in an empty table', () => {
    expect(mountOf([], Buffer.from('/'))).toBeUndefined()
  })
})

describe('findMount', () => {
  it.each(['/', '/proc/self', '/dev'])('tells of %s what the table does', async (path) => {
    const found = await findMount(path)
    const listed = mountOf(await readMountInfo(), Buffer.from(path))
    expect(found?.mountPoint).toEqual(listed?.mountPoint)
    expect(found?.fsType).toBe(listed?.fsType)
    expect(found?.source).toBe(listed?.source)
  })

  it('goes where a link leads', async () => {
    expect((await findMount('/proc/self/root/proc'))?.fsType).toBe('proc')
  })

  it('says that there is no such path', async () => {
    await expect(findMount('/nowhere/at/all')).rejects.toMatchObject({ code: 'ENOENT' })
  })
})
