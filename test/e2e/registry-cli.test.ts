/** The verbs that speak to a registry, as processes of their own. */
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { missing } from '../helpers/gates.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { skopeo, startRegistry } from '../helpers/registry.ts'
import { newRoot, storeFolders } from '../helpers/store.ts'
import { tempDir } from '../helpers/temp-dir.ts'
import { overlaid } from './support/command.ts'
import { bothImages, web } from './support/images.ts'

const user = { name: 'me', password: 'a secret' }

describe.skipIf(missing('canMount', 'hasRegistry', 'hasSkopeo', 'hasPython'))('the command', () => {
  watchLeaks(() => storeFolders)

  it('logs in, pushes, pulls, and logs out', async () => {
    const dir = tempDir('registry-cli')
    onTestFinished(() => dir[Symbol.dispose]())
    await using registry = await startRegistry(join(dir.path, 'registry'), { user })
    const { host } = registry
    const env = { DOCKER_CONFIG: join(dir.path, 'docker') }
    const file = join(env.DOCKER_CONFIG, 'config.json')
    mkdirSync(env.DOCKER_CONFIG)
    const others = { auths: { 'other.example': { auth: 'eDp5' } }, HttpHeaders: { kept: 'yes' } }
    writeFileSync(file, JSON.stringify(others))
    const [root, second] = [newRoot(), newRoot()]
    const login = (password: string) => {
      const argv = ['login', '-u', user.name, '--password-stdin', host]
      return overlaid(root, argv, { env, input: Buffer.from(password) })
    }

    const wrong = await login('wrong')
    expect(wrong.status).toBe(1)
    expect(wrong.stderr).toMatch(/login: the registry does not allow it\n {2}UNAUTHORIZED/)
    expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual(others)
    const right = await login(`${user.password}\n`)
    expect(right).toMatchObject({ status: 0, stdout: `Logged in: ${host}\n` })
    expect(right.stderr).toContain(`can be read in ${file}`)
    const auth = Buffer.from(`${user.name}:${user.password}`).toString('base64')
    const both = { ...others, auths: { ...others.auths, [host]: { auth } } }
    expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual(both)
    expect(statSync(file).mode & 0o777).toBe(0o600)

    const name = `${host}/team/web:1`
    await overlaid(root, ['load'], { input: bothImages })
    await overlaid(root, ['tag', 'web:1', name])
    const pushed = await overlaid(root, ['push', name], { env })
    expect(pushed).toMatchObject({ status: 0, stderr: '' })
    expect(pushed.stdout).toMatch(
      /^Pushed image: .*\nDigest: sha256:\w+\n2 layers: 2 sent, 0 there already\n$/,
    )
    const config = skopeo('inspect', '--authfile', file, '--tls-verify=false', '--config', `docker://${name}`)
    expect(JSON.parse(config)).toEqual(web.config)
    const pulled = await overlaid(second, ['--json', 'pull', name], { env })
    expect(pulled).toMatchObject({ status: 0, stderr: '' })
    expect(JSON.parse(pulled.stdout)).toMatchObject({ id: web.id, layers: { total: 2, added: 2, shared: 0 } })
    const none = await overlaid(second, ['pull', `${host}/team/none`], { env })
    expect(none.status).toBe(3)
    expect(none.stderr).toMatch(/manifest of team\/none:latest: not in the registry\n {2}MANIFEST_UNKNOWN/)

    expect((await overlaid(root, ['logout', host], { env })).stdout).toBe(`Logged out: ${host}\n`)
    expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual(others)
    const again = await overlaid(root, ['logout', host], { env })
    expect(again.stdout).toBe(`There were no credentials for ${host}\n`)
    expect((await overlaid(second, ['pull', name], { env })).status).toBe(1)
  })

  it('keeps credentials by the helper that docker uses', async () => {
    const dir = tempDir('registry-cli')
    onTestFinished(() => dir[Symbol.dispose]())
    await using registry = await startRegistry(join(dir.path, 'registry'), { user })
    const { host } = registry
    writeFileSync(join(dir.path, 'config.json'), JSON.stringify({ credsStore: 'test' }))
    const kept = join(dir.path, 'kept')
    const script = `#!/bin/sh
case $1 in
store) cat > ${kept} ;;
get) cat ${kept} 2>/dev/null || { echo credentials not found in native keychain; exit 1; } ;;
erase) rm ${kept} ;;
esac
`
    writeFileSync(join(dir.path, 'docker-credential-test'), script, { mode: 0o755 })
    const env = { DOCKER_CONFIG: dir.path, PATH: `${dir.path}:${process.env['PATH'] ?? ''}` }
    const root = newRoot()
    const login = ['--json', 'login', '-u', user.name, '--password-stdin', host]
    const { stdout, stderr } = await overlaid(root, login, { env, input: Buffer.from(user.password) })
    expect({ said: JSON.parse(stdout) as unknown, stderr }).toEqual({
      said: { registry: host, username: user.name, helper: 'test' },
      stderr: '',
    })
    expect(JSON.parse(readFileSync(kept, 'utf8'))).toEqual({
      ServerURL: host,
      Username: user.name,
      Secret: user.password,
    })
    // Allowed to ask, and told that there is none.
    expect((await overlaid(root, ['pull', `${host}/none`], { env })).status).toBe(3)
    expect((await overlaid(root, ['logout', host], { env })).status).toBe(0)
    expect((await overlaid(root, ['pull', `${host}/none`], { env })).status).toBe(1)
  })
})
