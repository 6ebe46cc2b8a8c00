/**
 * A real dockerd on a data root, as another process that shares the root with us. It needs no network; what it
 * mounts and starts is gone when it is stopped.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import { request } from 'node:http'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { mountsBelow } from '../../lib/driver-suite/leaks.ts'

export interface Dockerd extends AsyncDisposable {
  /** Runs the docker client and returns its stdout. @throws with its stderr */
  docker(...args: string[]): string
  /** As {@link docker}, with bytes on stdin. */
  dockerWith(input: Buffer, ...args: string[]): string
  /** Ends it and waits. Idempotent. */
  stop(): Promise<void>
}

/** The client of the same package: a newer one first on the PATH speaks another API. */
const DOCKER = existsSync('/usr/bin/docker') ? '/usr/bin/docker' : 'docker'
const START_TRIES = 300

/** Starts dockerd on `root`. `scratch` is a folder for its sockets and state, outside the root. */
export async function startDockerd(root: string, scratch: string, ...options: string[]): Promise<Dockerd> {
  mkdirSync(scratch, { recursive: true })
  const cgroup = mountDevicesCgroup()
  const socket = join(scratch, 'sock')
  writeFileSync(join(scratch, 'daemon.json'), '{}')
  const places = {
    'data-root': root,
    'exec-root': join(scratch, 'exec'),
    pidfile: join(scratch, 'pid'),
    host: `unix://${socket}`,
  }
  const args = Object.entries({ 'config-file': join(scratch, 'daemon.json'), ...places }).map(
    ([k, v]) => `--${k}=${v}`,
  )
  const named = options.some((option) => option.startsWith('--storage-driver='))
  const driver = named ? [] : ['--storage-driver=overlay2']
  const rest = ['--iptables=false', '--ip6tables=false', '--bridge=none', ...driver, ...options]
  const child = spawn('dockerd', [...args, ...rest], { stdio: ['ignore', 'pipe', 'pipe'] })
  const log = collectLog(child)
  try {
    await untilUp(socket, child)
  } catch (error) {
    await end(child, [scratch, root], cgroup)
    throw new Error(`dockerd did not start: ${log()}`, { cause: error })
  }
  const env = { ...process.env, DOCKER_HOST: `unix://${socket}`, DOCKER_BUILDKIT: '0' }
  const run = (input: Buffer | undefined, argv: string[]): string =>
    execFileSync(DOCKER, argv, {
      env,
      encoding: 'utf8',
      stdio: 'pipe',
      ...(input === undefined ? {} : { input }),
    })
  const stop = (): Promise<void> => end(child, [scratch, root], cgroup)
  return {
    docker: (...argv) => run(undefined, argv),
    dockerWith: (input, ...argv) => run(input, argv),
    stop,
    [Symbol.asyncDispose]: stop,
  }
}

function collectLog(child: ChildProcess): () => string {
  let text = ''
  const add = (chunk: Buffer): void => void (text = (text + chunk.toString()).slice(-4000))
  child.stdout?.on('data', add)
  child.stderr?.on('data', add)
  return () => text
}

/** runc asks for the cgroup v1 hierarchy of devices, which a bare machine may not have mounted. */
function mountDevicesCgroup(): string | undefined {
  const dir = '/sys/fs/cgroup/devices'
  if (!readFileSync('/proc/cgroups', 'utf8').includes('devices') || mountsBelow(dir).length > 0)
    return undefined
  mkdirSync(dir, { recursive: true })
  execFileSync('mount', ['-t', 'cgroup', '-o', 'devices', 'cgroup', dir])
  return dir
}

async function untilUp(socket: string, child: ChildProcess): Promise<void> {
  for (let tries = 0; tries < START_TRIES; tries++) {
    if (child.exitCode !== null) throw new Error(`exit status ${String(child.exitCode)}`)
    if (await answers(socket)) return
    await pause(100)
  }
  throw new Error('no answer on its socket')
}

function answers(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const req = request({ socketPath, path: '/_ping' }, (response) => {
      response.resume()
      resolve(response.statusCode === 200)
    })
    req.on('error', () => resolve(false)).end()
  })
}

async function end(child: ChildProcess, dirs: readonly string[], cgroup: string | undefined): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    const exited = once(child, 'exit')
    child.kill('SIGTERM')
    await exited
    if (cgroup !== undefined) execFileSync('umount', [cgroup])
  }
  // Network namespaces of its containers stay mounted, and the root itself when it was killed.
  for (const path of dirs.flatMap(mountsBelow).reverse()) execFileSync('umount', [path])
}
