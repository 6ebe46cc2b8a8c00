import type { StoreInfo } from '../store/info.ts'
import type { Verb } from './verb.ts'
import { packageVersion } from './version.ts'

/** `overlaid info` */
export const verb: Verb = {
  examples: [
    ['info', 'what the default data root is on, and what this machine can do'],
    ['--json info | jq .capabilities', 'the kernel capabilities that probing found'],
  ],
  async run({ openStore, out }) {
    // Not for reading only: that wants a root that is there, and this is asked before there is one.
    await using store = await openStore('write')
    const info = { version: packageVersion(), ...(await store.info()) }
    await out.result(info, () => lines(info).map((line) => out.name(line)))
  },
}

function lines(info: StoreInfo & { readonly version: string }): string[] {
  const { backingFs } = info
  return [
    `Version: ${info.version}`,
    `Data Root: ${info.root}`,
    `Storage Driver: ${info.driver}`,
    `Backing Filesystem: ${backingFs.name} (${backingFs.magic})`,
    `Supports d_type: ${backingFs.dType}`,
    'Capabilities:',
    ...Object.entries(info.capabilities).map(([name, has]) => ` ${name}: ${has}`),
    'Drivers:',
    ...info.drivers.map(
      ({ name, usable, reason }) => ` ${name}: ${usable ? 'usable' : (reason ?? 'not usable')}`,
    ),
    `Images: ${info.images}`,
    `Layers: ${info.layers}`,
    `Containers: ${info.containers}`,
  ]
}
