/** What the addon's calls on block devices take and give: one ioctl each, whose name is the error's `syscall`. */

export interface DeviceNumber {
  readonly major: number
  readonly minor: number
}

/** The file behind a loop device, by its st_dev and st_ino. */
export interface LoopStatus {
  readonly device: bigint
  readonly inode: bigint
  readonly readOnly: boolean
}

/** The one target of a mapped device's table. */
export interface MappedTarget {
  readonly type: string
  /** The device's length. */
  readonly sectors: number
  readonly parameters: string
  readonly readOnly?: boolean
}

/** `control` is /dev/loop-control or /dev/mapper/control; `name` is a mapped device's. */
export interface BlockCalls {
  /** LOOP_CTL_GET_FREE: the number of a device that has no file. Another process may take it meanwhile. */
  loopCtlGetFree(control: number): Promise<number>
  /**
   * LOOP_CONFIGURE (5.8): the first `size` bytes of `backingFd` as the device `fd`, read-only, until the last
   * descriptor of the device is closed. EBUSY where it has a file.
   */
  loopConfigure(fd: number, backingFd: number, size: number): Promise<void>
  /** LOOP_GET_STATUS64; undefined where the device has no file. */
  loopGetStatus64(fd: number): Promise<LoopStatus | undefined>
  /** DM_GET_TARGET_VERSION (5.4), which loads the target's module: EINVAL where the kernel has no such target. */
  dmGetTargetVersion(control: number, type: string): Promise<void>
  /** DM_LIST_DEVICES: their names. */
  dmListDevices(control: number): Promise<string[]>
  /** DM_DEV_CREATE: a device without a table. EBUSY where the name is taken. */
  dmDevCreate(control: number, name: string): Promise<DeviceNumber>
  /** DM_TABLE_LOAD: a table that dmDevResume brings into use. What is wrong with it is in the kernel's log alone. */
  dmTableLoad(control: number, name: string, target: MappedTarget): Promise<void>
  /** DM_TABLE_STATUS: what the target says of itself; nothing before dmDevResume. */
  dmTableStatus(control: number, name: string): Promise<string>
  /** DM_DEV_SUSPEND, whose other half this is. */
  dmDevResume(control: number, name: string): Promise<void>
  /**
   * DM_DEV_REMOVE: EBUSY while it is open, ENXIO where there is none. With `deferred` (3.13) the kernel removes it when
   * it is closed; until then it can be opened still.
   */
  dmDevRemove(control: number, name: string, options: { readonly deferred?: boolean }): Promise<void>
}
