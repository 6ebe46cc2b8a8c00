/** The `oci-layout` file that marks an OCI image layout. @see OCI image-spec, image-layout.md */
import * as v from 'valibot'
import { OverlaidError } from '../errors.ts'
import { decode, parseJSON } from './json.ts'

/** What overlaid writes; byte for byte what umoci and skopeo write. */
export const LAYOUT_FILE: Buffer = Buffer.from('{"imageLayoutVersion":"1.0.0"}')

const schema: v.GenericSchema<unknown, { imageLayoutVersion: string }> = v.looseObject({
  imageLayoutVersion: v.string(),
})

/**
 * Checks the version in an `oci-layout` file: 1.x is read.
 * @throws ERR_BAD_MANIFEST, ERR_UNSUPPORTED_MEDIA_TYPE for another version
 */
export function checkLayoutFile(bytes: Buffer): void {
  const { imageLayoutVersion } = decode(schema, parseJSON(bytes, 'oci-layout'), 'oci-layout')
  if (/^1\.[0-9]+\.[0-9]+$/.test(imageLayoutVersion)) return
  throw new OverlaidError(
    'ERR_UNSUPPORTED_MEDIA_TYPE',
    `the OCI image layout has version ${JSON.stringify(imageLayoutVersion)}; 1.x is read`,
  )
}
