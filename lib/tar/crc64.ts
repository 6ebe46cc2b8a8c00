/**
 * CRC-64 with the ISO 3309 polynomial, as Go's hash/crc64 computes it for tar-split: reflected, inverted before
 * and after. In two 32-bit halves, since JavaScript has no fast 64-bit integers; the addon has a faster one.
 */

/** x^64 + x^4 + x^3 + x + 1, reflected: the low half is 0. */
const POLYNOMIAL_HIGH = 0xd8000000

const HIGH = new Uint32Array(256)
const LOW = new Uint32Array(256)

for (let byte = 0; byte < 256; byte++) {
  let high = 0
  let low = byte
  for (let bit = 0; bit < 8; bit++) {
    const carry = low & 1
    low = (low >>> 1) | (high << 31)
    high = (high >>> 1) ^ (carry === 1 ? POLYNOMIAL_HIGH : 0)
  }
  HIGH[byte] = high
  LOW[byte] = low
}

/** Continues the sum in `state`, 8 bytes big-endian, with `data`. A new sum starts with zeros. */
export function crc64(state: Uint8Array, data: Uint8Array): void {
  const view = new DataView(state.buffer, state.byteOffset, 8)
  let high = ~view.getUint32(0)
  let low = ~view.getUint32(4)
  for (let i = 0; i < data.length; i++) {
    const index = (low ^ (data[i] as number)) & 0xff
    low = ((low >>> 8) | (high << 24)) ^ (LOW[index] as number)
    high = (high >>> 8) ^ (HIGH[index] as number)
  }
  view.setUint32(0, ~high)
  view.setUint32(4, ~low)
}
