import type { CompressionOptions } from '../transfer/compress.ts'
import { withProgress } from './progress.ts'
import { usageError } from './report.ts'
import { checkDestination, writeArchive } from './streams.ts'
import type { Verb } from './verb.ts'

interface Options {
  readonly output?: string
  readonly format: 'docker' | 'oci'
  readonly compression: 'none' | 'gzip' | 'zstd'
  readonly level?: string
  readonly threads?: string
}

/** `overlaid save` */
export const verb: Verb<[refs: string[]], Options> = {
  args: [['<ref...>', 'images, by name or id']],
  options: [
    { flags: '-o, --output <file>', does: 'where to; stdout without it' },
    { flags: '--format <format>', does: 'of the archive', choices: ['docker', 'oci'], default: 'docker' },
    {
      flags: '--compression <type>',
      does: 'of the layers, with --format oci',
      choices: ['none', 'gzip', 'zstd'],
      default: 'none',
    },
    { flags: '--level <number>', does: 'gzip 1 to 9, zstd 1 to 19; 3 without it' },
    { flags: '--threads <number>', does: 'for zstd; 1 without it' },
  ],
  examples: [
    ['save -o alpine.tar alpine:3.20', 'an archive for docker load'],
    ['save --format oci -o both.tar web:1 api:1', 'two images in one OCI archive, shared layers once'],
    ['save --format oci --compression zstd -o web.tar web:1', 'as a registry would have it'],
    ['save alpine:3.20 | gzip > alpine.tar.gz', 'through a pipe'],
  ],
  notes: 'FILE is written whole or not at all; layers come out byte for byte as they went in.',
  async run(context, [refs], { output, format, ...options }) {
    const compression = compressionOf(options)
    if (compression.compression !== undefined && format !== 'oci') {
      throw usageError('--compression is for --format oci', 'a docker-archive has its layers as plain tars')
    }
    checkDestination(context, output)
    await using store = await context.openStore('read')
    const { signal } = context
    await withProgress(context, (progress) =>
      writeArchive(context, output, store.images.save(refs, { format, ...compression, ...progress, signal })),
    )
  },
}

function compressionOf({ compression: type, level, threads }: Omit<Options, 'output' | 'format'>): {
  readonly compression?: CompressionOptions
} {
  if (type === 'none') {
    if (level !== undefined || threads !== undefined)
      throw usageError('--level and --threads are for --compression')
    return {}
  }
  const numbers = { ...numberOf('level', level), ...numberOf('threads', threads) }
  return { compression: { type, ...numbers } }
}

function numberOf(name: string, text: string | undefined): Record<string, number> {
  if (text === undefined) return {}
  if (!/^\d{1,4}$/.test(text)) throw usageError(`--${name} is '${text}'`, 'it is a number')
  return { [name]: Number(text) }
}
