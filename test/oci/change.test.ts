import { describe, expect, it } from 'vitest'
import { applyChanges } from '../../lib/oci/change.ts'
import { APPLIED, base } from '../fixtures/changes.ts'

describe('applyChanges', () => {
  it.each(APPLIED)('%s', (change, fields) => {
    expect(applyChanges(base, [change])).toEqual({ ...base, ...fields })
  })

  it('drops the command with the entry point that it was meant for', () => {
    expect(applyChanges(base, ['ENTRYPOINT ["e"]'])).toEqual({ ...base, Cmd: undefined, Entrypoint: ['e'] })
    expect(applyChanges(base, ['ENTRYPOINT e f'])).toMatchObject({ Entrypoint: ['/bin/sh', '-c', 'e f'] })
    expect(applyChanges(base, ['CMD ["c"]', 'ENTRYPOINT ["e"]'])).toMatchObject({
      Cmd: ['c'],
      Entrypoint: ['e'],
    })
    expect(applyChanges(base, ['ENTRYPOINT []'])).not.toHaveProperty('Entrypoint')
  })

  it('runs command lines in the shell of the image', () => {
    const shell = { ...base, Shell: ['/bin/bash', '-lc'] }
    expect(applyChanges(shell, ['CMD x']).Cmd).toEqual(['/bin/bash', '-lc', 'x'])
  })

  it('sees in each change what the ones before it set', () => {
    const config = applyChanges({}, [
      'ENV A=/a',
      'ENV B=$A/b P="80 81"',
      'WORKDIR $B',
      'WORKDIR c',
      'EXPOSE $P',
    ])
    expect(config).toMatchObject({ WorkingDir: '/a/b/c', ExposedPorts: { '80/tcp': {}, '81/tcp': {} } })
  })

  it('leaves the config that it was given alone', () => {
    const before = structuredClone(base)
    applyChanges(
      base,
      APPLIED.map(([change]) => change),
    )
    expect(base).toEqual(before)
  })

  it.each([
    '',
    'CMD',
    'ENV',
    'ENV A',
    'ENV A=1 B',
    'ENV =1',
    'ENV A="open',
    "ENV A='open",
    'ENV A=${B',
    'ENV A=${}',
    'ENV A=${B:?x}',
    'LABEL a',
    'WORKDIR',
    'WORKDIR $NONE',
    'USER',
    'EXPOSE x',
    'EXPOSE 65536',
    'EXPOSE 90-80',
    'EXPOSE 80/icmp',
    'EXPOSE -1',
    'VOLUME ""',
    'VOLUME ["/a", 1]',
    'CMD [1]',
    'RUN rm -rf /',
    'FROM x',
    '# CMD x',
    'HEALTHCHECK NONE',
  ])('refuses %j', (change) => {
    expect(() => applyChanges(base, [change])).toThrowError(
      expect.objectContaining({ code: 'ERR_INVALID_ARGUMENT' }),
    )
  })

  it('says which changes there are', () => {
    expect(() => applyChanges(base, ['RUN x'])).toThrow(/RUN x.*CMD, ENTRYPOINT, ENV/)
  })
})
