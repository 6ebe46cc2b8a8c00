/** What a peer has made of an image, for the comparison. */
import { createHash } from 'node:crypto'

/** chainIDs of diffIDs, base first, by the OCI image specification: what each has made of the image. */
export function chainIDs(diffIDs: readonly string[]): string[] {
  const chain: string[] = []
  for (const diffID of diffIDs) {
    const below = chain.at(-1)
    const digest = createHash('sha256').update(`${below ?? ''} ${diffID}`)
    chain.push(below === undefined ? diffID : `sha256:${digest.digest('hex')}`)
  }
  return chain.sort()
}
