/** Random numbers that can be had again: the seed is printed by whoever uses them. */
export const seed: number = Number(process.env['OVERLAID_SEED'] ?? Date.now() % 2 ** 31)

let state = seed

/** The next number in [0, 1): mulberry32. */
export function random(): number {
  state = (state + 0x6d2b79f5) | 0
  let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
}
