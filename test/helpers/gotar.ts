/** Go's archive/tar as an oracle, by a small program that is built once a process. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { EntryType } from '../../lib/tar/entry.ts'
import type { TarMember } from '../../lib/tar/encode.ts'

/** A member as Go tells it. */
export interface GoMember {
  readonly name: Buffer
  readonly linkname: Buffer
  readonly type: string
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly size: number
  readonly mtimeSec: number
  readonly mtimeNsec: number
  readonly xattrs: Map<string, Buffer>
  readonly body: Buffer
}

export const GO_TYPES: Readonly<Record<EntryType, string>> = {
  file: '0',
  hardlink: '1',
  symlink: '2',
  char: '3',
  block: '4',
  dir: '5',
  fifo: '6',
}

export class GoTar implements Disposable {
  readonly #dir: string = mkdtempSync(join(tmpdir(), 'overlaid-gotar-'))
  readonly #tool: string = join(this.#dir, 'tartool')

  constructor() {
    execFileSync('go', ['build', '-o', this.#tool, join(import.meta.dirname, '../fixtures/tar/tartool.go')], {
      env: { ...process.env, GO111MODULE: 'off', GOCACHE: join(this.#dir, 'cache') },
    })
  }

  #run(verb: string, input: Buffer): Buffer {
    return execFileSync(this.#tool, [verb], { input, maxBuffer: 1 << 30, stdio: ['pipe', 'pipe', 'pipe'] })
  }

  /** @throws when Go refuses the archive; the message has its reason */
  dump(archive: Buffer): GoMember[] {
    const lines = this.#run('dump', archive).toString().split('\n').filter(Boolean)
    return lines.map((line) => {
      const m = JSON.parse(line) as Record<string, string> & { Xattrs: Record<string, string> | null }
      const bytes = (key: string) => Buffer.from(m[key] ?? '', 'base64')
      return {
        name: bytes('Name'),
        linkname: bytes('Linkname'),
        type: String(m['Type']),
        mode: Number(m['Mode']),
        uid: Number(m['UID']),
        gid: Number(m['GID']),
        size: Number(m['Size']),
        mtimeSec: Number(m['Sec']),
        mtimeNsec: Number(m['Nsec']),
        xattrs: new Map(Object.entries(m.Xattrs ?? {}).map(([k, v]) => [k, Buffer.from(v, 'base64')])),
        body: bytes('Body'),
      }
    })
  }

  /** The archive that Go makes of the members, in the way docker makes its layers. */
  write(members: readonly { readonly member: TarMember; readonly body?: Buffer }[]): Buffer {
    const b64 = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString('base64')
    const lines = members.map(({ member, body }) =>
      JSON.stringify({
        Name: b64(member.name),
        Linkname: b64(member.linkname),
        Uname: b64(member.uname),
        Gname: b64(member.gname),
        Type: GO_TYPES[member.type],
        Mode: member.mode,
        UID: member.uid,
        GID: member.gid,
        Size: member.size,
        Sec: member.mtimeSec,
        Nsec: member.mtimeNsec ?? 0,
        Major: member.devMajor ?? 0,
        Minor: member.devMinor ?? 0,
        Xattrs: Object.fromEntries([...(member.xattrs ?? [])].map(([k, v]) => [k, b64(v)])),
        Body: b64(body),
      }),
    )
    return this.#run('write', Buffer.from(lines.join('\n')))
  }

  /** CRC-64/GO-ISO in hex. */
  crc64(data: Buffer): string {
    return this.#run('crc', data).toString()
  }

  [Symbol.dispose](): void {
    rmSync(this.#dir, { recursive: true, force: true })
  }
}
