import { describe, expect, it } from 'vitest'
import { MAX_JSON_BYTES, parseJSON } from '../../lib/oci/json.ts'

const read = (text: string | Buffer): unknown => parseJSON(Buffer.from(text as string), 'the document')

describe('parseJSON', () => {
  it('reads JSON as JSON.parse does', () => {
    const text = '{"a": [1, {"a": "x\\"y", "b": {}}, null], "\\u00e9": "{\\"a\\":1,\\"a\\":2}", "c" : true}'
    expect(read(text)).toEqual(JSON.parse(text))
  })

  it.each([
    ['cut off', '{"a":', 'not JSON'],
    ['nothing', '', 'not JSON'],
    ['two documents', '{}{}', 'not JSON'],
    ['a byte order mark', '\uFEFF{}', 'not JSON'],
    ['NaN', '{"a":NaN}', 'not JSON'],
    ['a key twice', '{"a":1,"b":{"a":1},"a":2}', 'twice'],
    ['a key twice, escaped', '{"layers":[],"l\\u0061yers":[]}', 'twice'],
    ['a key twice, far below', '[[{"x":{"a":[{"b":1}],"a":1}}]]', 'twice'],
    ['deep nesting', '['.repeat(101) + ']'.repeat(101), 'nested too deeply'],
    ['very deep nesting', '['.repeat(1_000_000) + ']'.repeat(1_000_000), 'nested too deeply'],
    ['invalid UTF-8', Buffer.from([0x22, 0xff, 0x22]), 'UTF-8'],
    ['a surrogate in UTF-8', Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]), 'UTF-8'],
    ['UTF-16', Buffer.from('{}', 'utf16le'), 'not JSON'],
  ])('refuses %s', (_what, text, message) => {
    expect(() => read(text)).toThrowError(
      expect.objectContaining({
        code: 'ERR_BAD_MANIFEST',
        message: expect.stringMatching(`^the document.*${message}`) as string,
      }),
    )
  })

  it('refuses a document that is too large before it decodes it', () => {
    const large = Buffer.alloc(MAX_JSON_BYTES + 1, 0xff)
    expect(() => parseJSON(large, 'x')).toThrowError(expect.objectContaining({ code: 'ERR_LIMIT_EXCEEDED' }))
  })

  it('keeps its pace on a large document of strings and escapes', () => {
    const text = JSON.stringify(Array.from({ length: 100_000 }, (_, i) => ({ [`k${String(i)}\n`]: '\\"\n' })))
    expect(text.length).toBeLessThan(MAX_JSON_BYTES)
    expect(read(text)).toHaveLength(100_000)
  })
})
