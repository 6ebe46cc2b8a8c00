/**
 * Leases: what a load, commit, create or save in progress needs or is making. Whoever decides what may go (rmi,
 * gc) does so under the store lock and counts what a living process's lease names as in use.
 */
import type { ChainID } from '../oci/digest.ts'
import { Claim, type FoundClaim, readClaims } from './claim.ts'
import type { StorePaths } from './paths.ts'

export interface LeaseContent {
  /** Layers that are needed or being made, each with all below it. */
  readonly chainIDs: readonly ChainID[]
  /** Folders of the driver's home that are being made: no entry in layerdb names them yet. */
  readonly driverIDs: readonly string[]
}

export type Lease = Claim<LeaseContent>

/** Takes a lease. The caller holds the store lock and has checked that what is needed is there. */
export function takeLease(paths: StorePaths, content: LeaseContent): Promise<Lease> {
  return Claim.make(paths.leases, content)
}

/** All leases, dead ones too. The caller holds the store lock. */
export function readLeases(paths: StorePaths): Promise<FoundClaim<LeaseContent>[]> {
  return readClaims<LeaseContent>(paths.leases)
}

/** What living processes need. The caller holds the store lock. */
export async function liveLeases(paths: StorePaths): Promise<LeaseContent[]> {
  const leases = await readLeases(paths)
  return leases.flatMap(({ alive, content }) => (alive && content !== undefined ? [content] : []))
}
