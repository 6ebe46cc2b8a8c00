import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { helperFor } from '../../../lib/transfer/registry/credentials.ts'
import { authIn, dockerConfigFile, readDockerConfig } from '../../../lib/transfer/registry/docker-config.ts'
import { tempDir } from '../../helpers/temp-dir.ts'

const base64 = (text: string): string => Buffer.from(text).toString('base64')

describe('authIn', () => {
  const auths = {
    'https://index.docker.io/v1/': { auth: base64('hub:pass') },
    'host:5000': { auth: base64('me:a:b') },
    'https://old.example/v1/': { username: 'old', password: 'pass' },
    'token.example': { identitytoken: 'identity', auth: base64('<token>:') },
    'empty.example': {},
    'bad.example': { auth: base64('no colon') },
  }

  it.each([
    ['docker.io', { username: 'hub', password: 'pass' }],
    ['host:5000', { username: 'me', password: 'a:b' }],
    ['host', undefined],
    ['old.example', { username: 'old', password: 'pass' }],
    ['token.example', { identityToken: 'identity' }],
    ['empty.example', undefined],
    ['constructor', undefined],
  ])('%s', (host, auth) => {
    expect(authIn({ auths }, host)).toEqual(auth)
  })

  it('refuses what is not name:password, without its text', () => {
    expect(() => authIn({ auths }, 'bad.example')).toThrow('the auth of bad.example is not name:password')
  })
})

describe('the file', () => {
  it('is in $DOCKER_CONFIG, may be missing, and must have its form', () => {
    const dir = tempDir('docker-config')
    onTestFinished(() => dir[Symbol.dispose]())
    const path = dockerConfigFile(undefined, { DOCKER_CONFIG: dir.path })
    expect(path).toBe(join(dir.path, 'config.json'))
    expect(readDockerConfig(path)).toEqual({})
    writeFileSync(path, '{"auths": {"a": {"auth": 1}}}')
    expect(() => readDockerConfig(path)).toThrow(/auths\.a\.auth/)
  })
})

describe('helperFor', () => {
  it('goes by the host first, then takes the one for all', () => {
    const config = { credsStore: 'all', credHelpers: { 'host:5000': 'own' } }
    expect(helperFor(config, 'host:5000')).toBe('own')
    expect(helperFor(config, 'docker.io')).toBe('all')
    expect(helperFor({ credsStore: '' }, 'docker.io')).toBeUndefined()
    expect(helperFor({}, 'docker.io')).toBeUndefined()
  })
})
