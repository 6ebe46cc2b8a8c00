/** A containerd of its own, in folders of its own, for `ctr`. Nothing of it is left when it is stopped. */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { mountsBelow } from '../../lib/driver-suite/leaks.ts'

export interface Containerd extends AsyncDisposable {
  /** Runs `ctr` and returns its stdout. @throws with its stderr */
  ctr(...args: string[]): string
  /** The arguments that `ctr` needs to reach it. */
  readonly address: readonly string[]
  /** Ends it and waits. Idempotent. */
  stop(): Promise<void>
}

const START_TRIES = 300

/** Starts containerd with its state below `dir`. @throws with what it logged, when it does not come up */
export async function startContainerd(dir: string): Promise<Containerd> {
  mkdirSync(dir, { recursive: true })
  const socket = join(dir, 'sock')
  const config = [
    'version = 2',
    `root = "${join(dir, 'root')}"`,
    `state = "${join(dir, 'state')}"`,
    // CRI wants a network; the others are not used and cost time.
    'disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]',
    `[grpc]\naddress = "${socket}"`,
    `[ttrpc]\naddress = "${socket}.ttrpc"`,
  ]
  writeFileSync(join(dir, 'config.toml'), config.join('\n'))
  const child = spawn('containerd', ['--config', join(dir, 'config.toml')], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let log = ''
  child.stderr.on('data', (chunk: Buffer) => void (log = (log + chunk.toString()).slice(-4000)))
  const stop = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) {
      const exited = once(child, 'exit')
      child.kill('SIGTERM')
      await exited
    }
    for (const path of mountsBelow(dir).reverse()) execFileSync('umount', [path])
  }
  const address = ['--address', socket]
  const ctr = (...args: string[]): string =>
    execFileSync('ctr', [...address, ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  for (let tries = 0; tries < START_TRIES && child.exitCode === null; tries++) {
    if (existsSync(socket) && answers(ctr)) return { ctr, address, stop, [Symbol.asyncDispose]: stop }
    await pause(50)
  }
  await stop()
  throw new Error(`containerd did not start: ${log}`)
}

function answers(ctr: (...args: string[]) => string): boolean {
  try {
    ctr('version')
    return true
  } catch {
    // "connection refused" until it listens.
    return false
  }
}
