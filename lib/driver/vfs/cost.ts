/** What vfs costs beside overlay2, in words: a disk that fills up unexpectedly is the one thing people know it by. */
import { humanSize } from '../../fs/human-size.ts'
import type { LayerWeight } from '../driver.ts'

/** @param layers that are stored together, each once */
export function vfsCost(layers: readonly LayerWeight[]): string | undefined {
  const own = sum(layers.map(({ size }) => size))
  const whole = sum(layers.map(({ wholeSize }) => wholeSize))
  if (whole === 0) return undefined
  const largest = Math.max(...layers.map(({ wholeSize }) => wholeSize))
  const these = layers.length === 1 ? 'this layer takes' : `these ${String(layers.length)} layers take`
  return (
    `vfs stores every layer, and every container twice, with all files that are below it: ${these} about ` +
    `${humanSize(whole)} where overlay2 would take ${humanSize(own)}, and a container up to ${humanSize(2 * largest)} ` +
    'where overlay2 would take nothing. It is less on file systems that share blocks between files (btrfs, XFS)'
  )
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}
