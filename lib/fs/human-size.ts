/** Numbers of bytes for people. */

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'] as const

/** `bytes` in decimal units with three significant digits, as `docker images` prints them: `7.8MB`. */
export function humanSize(bytes: number): string {
  let value = bytes
  let unit = 0
  // 999.5 rather than 1000: it would round to 1000 of this unit.
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000
    unit += 1
  }
  return `${Number(value.toPrecision(3))}${UNITS[unit]}`
}
