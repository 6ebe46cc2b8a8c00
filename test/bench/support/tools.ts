/** The tools that contenders are, and small programs that are built from sources beside this file when first needed. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { CACHE, hasCommand } from '../../../scripts/debian-packages.mjs'

const GO_PATH = '/usr/share/gocode'
const GO_ENV = {
  ...process.env,
  GO111MODULE: 'off',
  GOPATH: GO_PATH,
  GOCACHE: join(CACHE, 'go-build'),
  CGO_ENABLED: '0',
}
const BENCH = join(import.meta.dirname, '..')

/** What each is found by, and whether .ci/run installs it: there it must not be missing. */
const TOOLS = {
  bsdtar: { isThere: () => hasCommand('bsdtar'), inCI: true },
  pigz: { isThere: () => hasCommand('pigz'), inCI: true },
  dockerd: { isThere: () => hasCommand('dockerd'), inCI: true },
  containerd: { isThere: () => hasCommand('containerd'), inCI: true },
  'fuse-overlayfs': { isThere: () => hasCommand('fuse-overlayfs'), inCI: true },
  'mkfs.xfs': { isThere: () => hasCommand('mkfs.xfs'), inCI: true },
  'mkfs.btrfs': { isThere: () => hasCommand('mkfs.btrfs'), inCI: true },
  umoci: { isThere: () => hasCommand('umoci'), inCI: true },
  'containers-storage': { isThere: () => hasCommand('containers-storage'), inCI: false },
  'docker-registry': { isThere: () => hasCommand('docker-registry'), inCI: true },
  skopeo: { isThere: () => hasCommand('skopeo'), inCI: true },
  'moby in GOPATH': { isThere: () => hasMoby(), inCI: false },
  'containerd in GOPATH': { isThere: () => hasGoPackage('github.com/containerd/containerd'), inCI: false },
} as const satisfies Record<string, { isThere: () => boolean; inCI: boolean }>

export type Tool = keyof typeof TOOLS

/** Debian's golang-github-docker-docker-dev, and golang-github-vbatts-tar-split-dev that it forgets to ask for. */
function hasMoby(): boolean {
  return hasGoPackage('github.com/docker/docker/daemon') && hasGoPackage('github.com/vbatts/tar-split')
}

function hasGoPackage(path: string): boolean {
  return hasCommand('go') && existsSync(join(GO_PATH, 'src', path))
}

const found = new Map<Tool, boolean>()

/** Whether it is not there. @throws in CI, where what .ci/run installs must be */
export function missingTool(tool: Tool): boolean {
  const { isThere, inCI } = TOOLS[tool]
  if (!found.has(tool)) found.set(tool, isThere())
  const isMissing = found.get(tool) === false
  if (isMissing && inCI && process.env['CI'] === 'true') throw new Error(`${tool} is missing`)
  return isMissing
}

/** `native/<name>.c` as a program. @returns its path */
export function cProgram(name: string): string {
  const source = join(BENCH, 'native', `${name}.c`)
  return built(name, [source], (output) => {
    execFileSync('cc', ['-O2', '-Wall', '-Wextra', '-Werror', '-o', output, source, '-lpthread'])
  })
}

/**
 * The Go program `go/<name>/`, with the packages that Debian has below {@link GO_PATH}; what is missing there the
 * program has below `overlay/`. @returns its path
 */
export function goProgram(name: string): string {
  const folder = join(BENCH, 'go', name)
  const sources = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) =>
    file.endsWith('.go'),
  )
  return built(
    name,
    sources.map((file) => join(folder, file)),
    (output) => {
      const inOverlay = sources.filter((file) => file.startsWith('overlay/'))
      const Replace = Object.fromEntries(
        inOverlay.map((file) => [join(GO_PATH, 'src', file.slice('overlay/'.length)), join(folder, file)]),
      )
      writeFileSync(`${output}.json`, JSON.stringify({ Replace }))
      const options = ['-tags', 'netgo osusergo no_btrfs', '-overlay', `${output}.json`]
      execFileSync('go', ['build', ...options, '-o', output, '.'], {
        cwd: folder,
        env: GO_ENV,
        stdio: 'pipe',
      })
      rmSync(`${output}.json`)
    },
  )
}

/** Makes a program once for each state of its sources and this machine's compiler. */
function built(name: string, sources: readonly string[], make: (output: string) => void): string {
  const hash = createHash('sha256').update(readFileSync('/etc/os-release'))
  for (const source of sources) hash.update(readFileSync(source))
  const folder = join(CACHE, 'bench')
  const output = join(folder, `${name}-${hash.digest('hex').slice(0, 16)}`)
  if (existsSync(output)) return output
  mkdirSync(folder, { recursive: true })
  const temporary = `${output}.${String(process.pid)}`
  make(temporary)
  renameSync(temporary, output)
  return output
}
