import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { binding } from '../../lib/native/binding.ts'
import { missing } from '../helpers/gates.ts'
import { tempDir } from '../helpers/temp-dir.ts'

function crc(...parts: readonly Uint8Array[]): string {
  const state = Buffer.alloc(8)
  for (const part of parts) binding.crc64(state, part)
  return state.toString('hex')
}

describe.skipIf(missing('hasBinding'))('crc64', () => {
  it.each([
    ['', '0000000000000000'],
    // The check value of CRC-64/GO-ISO in the catalogue of parametrised CRC algorithms.
    ['123456789', 'b90956c775a41001'],
  ])('of %j is that of hash/crc64 with the ISO polynomial', (text, expected) => {
    expect(crc(Buffer.from(text))).toBe(expected)
  })

  it('does not depend on how the data is cut up or aligned', () => {
    const data = Buffer.from(Array.from({ length: 1000 }, (_, i) => (i * 7919) & 0xff))
    const whole = crc(data)
    for (const cut of [1, 3, 7, 8, 9, 500, 999]) {
      expect(crc(data.subarray(0, cut), data.subarray(cut)), `cut at ${String(cut)}`).toBe(whole)
    }
    expect(crc(Buffer.concat([Buffer.from('x'), data]).subarray(1))).toBe(whole)
  })

  it.skipIf(missing('hasGo'))("equals Go's own over random lengths", () => {
    using temp = tempDir('crc64')
    writeFileSync(join(temp.path, 'main.go'), program)
    const lines = execFileSync('go', ['run', 'main.go'], { cwd: temp.path, encoding: 'utf8' })
      .trim()
      .split('\n')
    expect(lines).toHaveLength(64)
    for (const line of lines) {
      const [data = '', expected] = line.split(' ')
      expect(crc(Buffer.from(data, 'hex'))).toBe(expected)
    }
  })

  it('refuses a state that is not 8 bytes', () => {
    expect(() => {
      binding.crc64(Buffer.alloc(7), Buffer.from('x'))
    }).toThrow('8 bytes')
  })
})

const program = `package main
import ("fmt"; "hash/crc64"; "math/rand")
func main() {
  table := crc64.MakeTable(crc64.ISO)
  for i := 1; i <= 64; i++ {
    data := make([]byte, i*i)
    rand.New(rand.NewSource(int64(i))).Read(data)
    fmt.Printf("%x %016x\\n", data, crc64.Checksum(data, table))
  }
}
`
