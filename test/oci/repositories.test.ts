import { describe, expect, it } from 'vitest'
import { digestOf } from '../../lib/oci/digest.ts'
import { parseReference } from '../../lib/oci/reference.ts'
import {
  deleteReference,
  formatRepositories,
  lookUp,
  namesOf,
  parseRepositories,
  setReference,
} from '../../lib/oci/repositories.ts'

const one = digestOf('1')
const two = digestOf('2')
const ref = parseReference

describe('repositories.json', () => {
  it("is docker's to the byte: compact, sorted, familiar names", () => {
    const names = parseRepositories(Buffer.from('{"Repositories":{}}'))
    setReference(names, ref('docker.io/library/b:2'), two)
    setReference(names, ref('b:1'), one)
    setReference(names, ref(`host:5000/a@${two}`), one)
    expect(formatRepositories(names).toString()).toBe(
      `{"Repositories":{"b":{"b:1":"${one}","b:2":"${two}"},"host:5000/a":{"host:5000/a@${two}":"${one}"}}}`,
    )
    expect(parseRepositories(formatRepositories(names))).toEqual(names)
  })

  it('finds images by any form of their name, and their names by id', () => {
    const names = parseRepositories(
      Buffer.from(`{"Repositories":{"b":{"b:latest":"${one}","b:2":"${one}"},"a/c":{"a/c:1":"${one}"}}}\n`),
    )
    expect(lookUp(names, ref('docker.io/library/b'))).toBe(one)
    expect(lookUp(names, ref('b:3'))).toBeUndefined()
    expect(lookUp(names, ref('z'))).toBeUndefined()
    expect(namesOf(names, one)).toEqual(['a/c:1', 'b:2', 'b:latest'])
    expect(namesOf(names, two)).toEqual([])
  })

  it('moves a tag, and says what it named before', () => {
    const names = new Map()
    expect(setReference(names, ref('a:1'), one)).toBeUndefined()
    expect(setReference(names, ref('a:1'), two)).toBe(one)
    expect(lookUp(names, ref('a:1'))).toBe(two)
  })

  it('takes a name away, and the repository with its last one', () => {
    const names = new Map()
    setReference(names, ref('a:1'), one)
    setReference(names, ref('a:2'), one)
    expect(deleteReference(names, ref('a:1'))).toBe(true)
    expect(deleteReference(names, ref('a:1'))).toBe(false)
    expect(deleteReference(names, ref('z'))).toBe(false)
    expect(namesOf(names, one)).toEqual(['a:2'])
    deleteReference(names, ref('a:2'))
    expect(formatRepositories(names).toString()).toBe('{"Repositories":{}}')
  })

  it('keeps names that are also properties of objects', () => {
    const names = new Map()
    for (const name of ['constructor', 'prototype', 'hasownproperty']) setReference(names, ref(name), one)
    expect(namesOf(parseRepositories(formatRepositories(names)), one)).toHaveLength(3)
  })

  it('is empty when docker has written no map', () => {
    expect(parseRepositories(Buffer.from('{"Repositories":null}')).size).toBe(0)
    expect(parseRepositories(Buffer.from('{}')).size).toBe(0)
  })

  it.each([
    '',
    '[]',
    '{"Repositories":[]}',
    '{"Repositories":{"a":null}}',
    '{"Repositories":{"a":{"a:1":1}}}',
    '{"Repositories":{"a":{"a:1":"sha256:../x"}}}',
    '{"Repositories":{"a":{"a:1":"cafe"}}}',
    `{"Repositories":{"a":{"a:1":"${one}"}}`,
  ])('calls %j damage', (text) => {
    expect(() => parseRepositories(Buffer.from(text))).toThrowError(
      expect.objectContaining({
        code: 'ERR_DAMAGED',
        message: expect.stringContaining('repositories.json') as string,
      }),
    )
  })
})
