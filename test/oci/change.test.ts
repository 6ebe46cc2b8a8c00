import { describe, expect, it } from 'vitest'
import { applyChanges } from '../../lib/oci/change.ts'
import type { ContainerConfig } from '../../lib/oci/config.ts'

const base: ContainerConfig = {
  Cmd: ['old'],
  Entrypoint: ['/entry'],
  Env: ['PATH=/bin', 'HOME=/root'],
  WorkingDir: '/srv',
  Labels: { keep: '1' },
}

/** Change, and the fields that dockerd 20.10 gives a commit of an image with the config above. */
const APPLIED: readonly (readonly [string, ContainerConfig])[] = [
  ['CMD ["a", "b c"]', { Cmd: ['a', 'b c'] }],
  ['CMD []', { Cmd: [] }],
  ['CMD echo $HOME "x"', { Cmd: ['/bin/sh', '-c', 'echo $HOME "x"'] }],
  ['CMD [ -f x ] && y', { Cmd: ['/bin/sh', '-c', '[ -f x ] && y'] }],
  ["CMD ['a']", { Cmd: ['/bin/sh', '-c', "['a']"] }],
  ['cmd ["lower"]', { Cmd: ['lower'] }],
  ['  CMD\t["space"]  ', { Cmd: ['space'] }],
  ['CMD a \\\n  b', { Cmd: ['/bin/sh', '-c', 'a   b'] }],
  ['ENV A=1', { Env: ['PATH=/bin', 'HOME=/root', 'A=1'] }],
  [
    'ENV A=1 B="2 3" C=\'4 5\' D=6\\ 7',
    { Env: ['PATH=/bin', 'HOME=/root', 'A=1', 'B=2 3', 'C=4 5', 'D=6 7'] },
  ],
  ['ENV PATH=/x:$PATH', { Env: ['PATH=/x:/bin', 'HOME=/root'] }],
  [
    'ENV HOME=${HOME}/a Z=${NONE:-d} Y=${HOME:+set} X=${NONE:+set}',
    { Env: ['PATH=/bin', 'HOME=/root/a', 'Z=d', 'Y=set', 'X='] },
  ],
  ['ENV A=$HOME B=$A', { Env: ['PATH=/bin', 'HOME=/root', 'A=/root', 'B='] }],
  [
    'ENV A=\'$HOME\' B=\\$HOME C="\\$HOME"',
    { Env: ['PATH=/bin', 'HOME=/root', 'A=$HOME', 'B=$HOME', 'C=$HOME'] },
  ],
  ['ENV OLD the rest of it', { Env: ['PATH=/bin', 'HOME=/root', 'OLD=the rest of it'] }],
  ['ENV A=b=c', { Env: ['PATH=/bin', 'HOME=/root', 'A=b=c'] }],
  ['ENV A=', { Env: ['PATH=/bin', 'HOME=/root', 'A='] }],
  ['WORKDIR /w', { WorkingDir: '/w' }],
  ['WORKDIR sub/../dir', { WorkingDir: '/srv/dir' }],
  ['WORKDIR ${HOME}/x', { WorkingDir: '/root/x' }],
  ['WORKDIR "/a b"', { WorkingDir: '/a b' }],
  ['USER 1000:1000', { User: '1000:1000' }],
  ['LABEL a=1 "b c"="d e"', { Labels: { keep: '1', a: '1', 'b c': 'd e' } }],
  ['LABEL keep=2', { Labels: { keep: '2' } }],
  ['LABEL old form here', { Labels: { keep: '1', old: 'form here' } }],
  ['EXPOSE 80', { ExposedPorts: { '80/tcp': {} } }],
  [
    'EXPOSE 53/udp 8000-8002/TCP',
    { ExposedPorts: { '53/udp': {}, '8000/tcp': {}, '8001/tcp': {}, '8002/tcp': {} } },
  ],
  ['VOLUME /a /b', { Volumes: { '/a': {}, '/b': {} } }],
  ['VOLUME ["/a b", "/c"]', { Volumes: { '/a b': {}, '/c': {} } }],
]

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
