import { expect, it } from 'vitest'
import { chainID, chainIDs } from '../../lib/oci/chain-id.ts'
import { parseDiffID } from '../../lib/oci/digest.ts'

// a, b, c: printf X | sha256sum. ab: printf '%s %s' sha256:$a sha256:$b | sha256sum. abc: the same with ab and c.
const [a, b, c] = [
  'sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb',
  'sha256:3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d',
  'sha256:2e7d2c03a9507ae265ecf5b5356885a53393a2029d241394997265a1a25aefc6',
].map((id) => parseDiffID(id))
const AB = 'sha256:51c0c8ace48498d6f5fee6b0592cc06f2da0f3cbe09c5a34a97dce85c3889676'
const ABC = 'sha256:2fce7f8ce91bcf0a1428b36e1024639fdbd9469eea762dba98aa749631885106'

it('follows the specification: text of both ids, one space, no newline', () => {
  expect(chainIDs([a!, b!, c!])).toEqual([a, AB, ABC])
})

it('depends on the order', () => {
  expect(chainIDs([b!, a!]).at(-1)).not.toBe(AB)
})

it('is the diffID for a base layer, and nothing for no layers', () => {
  expect(chainID(undefined, c!)).toBe(c)
  expect(chainIDs([])).toEqual([])
})
