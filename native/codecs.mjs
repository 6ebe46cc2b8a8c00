/**
 * For binding.gyp: the folder of the static libraries that scripts/codecs.sh builds, or nothing where they are not. The
 * addon is then built without them, and node:zlib and fzstd do their work.
 */
import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

/** @type {Partial<Record<string, string>>} */
const MACHINES = { x64: 'x86_64', arm64: 'aarch64' }
const cache = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'overlaid')
const folder = join(cache, `codecs-${MACHINES[process.arch] ?? process.arch}`)
if (existsSync(join(folder, 'done'))) process.stdout.write(folder)
