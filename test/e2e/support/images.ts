/** Two small images on one base, as a docker-archive. */
import { buildImage, dockerArchive, type TestImage } from '../../helpers/image.ts'
import type { TarSpec } from '../../helpers/rawtar.ts'

const base: TarSpec[] = [
  { name: 'bin/' },
  { name: 'bin/tool', mode: 0o4755, body: 'tool' },
  { name: 'etc/' },
  { name: 'etc/motd', body: 'from the base\n' },
  { name: 'etc/gone', body: 'to be deleted' },
  { name: 'etc/link', type: 'symlink', linkname: 'motd' },
  { name: 'tmp/', mode: 0o1777 },
]

export const web: TestImage = buildImage({
  names: ['web:1'],
  layers: [base, [{ name: 'etc/' }, { name: 'etc/motd', body: 'from web\n' }, { name: 'srv/' }]],
  config: {
    config: { Cmd: ['serve'], Env: ['A=b'], Labels: { tier: 'web' }, ExposedPorts: { '80/tcp': {} } },
  },
})

export const api: TestImage = buildImage({
  names: ['api:1'],
  layers: [base, [{ name: 'etc/' }, { name: 'etc/.wh.gone' }, { name: 'etc/api', body: 'x'.repeat(5000) }]],
})

/** Both, in one archive. */
export const bothImages: Buffer = dockerArchive([web, api])
