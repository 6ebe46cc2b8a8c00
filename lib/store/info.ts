/** What `overlaid info` prints, minus the version. */
export interface StoreInfo {
  readonly root: string
  readonly driver: string
  readonly backingFs: { readonly name: string; readonly magic: string; readonly dType: boolean }
  readonly capabilities: Readonly<Record<string, boolean>>
  readonly drivers: readonly { readonly name: string; readonly usable: boolean; readonly reason?: string }[]
  readonly images: number
  readonly layers: number
  readonly containers: number
}
