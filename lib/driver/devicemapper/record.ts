/** What Docker notes of each layer's device: `metadata/<id>`, JSON. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import * as v from 'valibot'
import { hasCode, OverlaidError } from '../../errors.ts'
import { decode, parseJSON } from '../../oci/json.ts'

/** Numbers of devices have 24 bits. */
const MAX_DEVICE_ID = 0xff_ffff

const schema = v.object({
  device_id: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(MAX_DEVICE_ID)),
  size: v.pipe(v.number(), v.safeInteger(), v.minValue(512)),
  deleted: v.optional(v.boolean(), false),
})

export interface DeviceRecord {
  /** Its number in the pool. */
  readonly deviceID: number
  readonly sectors: number
}

/** @param home the driver's folder. @throws ERR_DAMAGED */
export function readDeviceRecord(home: string, id: string): DeviceRecord {
  const path = join(home, 'metadata', id)
  const { device_id, size, deleted } = readDocument(path, id)
  if (deleted)
    throw new OverlaidError('ERR_DAMAGED', `the device of layer ${id} is marked as deleted`, { path })
  return { deviceID: device_id, sectors: Math.floor(size / 512) }
}

function readDocument(path: string, id: string): v.InferOutput<typeof schema> {
  try {
    return decode(schema, parseJSON(readFileSync(path), path), path)
  } catch (cause) {
    if (!hasCode(cause, 'ENOENT', 'ERR_BAD_MANIFEST', 'ERR_LIMIT_EXCEEDED')) throw cause
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new OverlaidError('ERR_DAMAGED', `the device of layer ${id} is not known: ${reason}`, {
      path,
      cause,
    })
  }
}
