/** The public names of overlaid. No code lives here. */
export { Store } from './store/store.ts'
export type { StoreOptions } from './store/store.ts'
export { Images } from './store/image-store.ts'
export type {
  Image,
  ImageMountOptions,
  ImageSummary,
  ImportOptions,
  LoadFrom,
  LoadOptions,
  LoadReport,
  PulledImage,
  PullOptions,
  PushOptions,
  PushReport,
  RemoveReport,
  SaveOptions,
} from './store/image-store.ts'
export type { MigrateOptions, MigrateReport } from './store/migrate.ts'
export { Layers } from './store/layer-store.ts'
export type { LayerSummary } from './store/layer-store.ts'
export { Containers } from './store/container-store.ts'
export type { ContainerSummary, CreateOptions } from './store/container-store.ts'
export type { StorageOptions } from './store/storage-options.ts'
export { Container } from './store/container.ts'
export type { CommitOptions, ContainerDetails, ContainerMountOptions } from './store/container.ts'
export { Mount } from './store/mount.ts'
export type { OnProgress, Progress } from './store/progress.ts'
export type { StoreInfo } from './store/info.ts'
export { probeDrivers } from './store/probe.ts'
export type { ProbeOptions, ProbeReport } from './store/probe.ts'
export type { DriverAnswer } from './driver/answer.ts'
export type { DiskUsage } from './store/df.ts'
export type { GcOptions, GcReport } from './store/gc.ts'
export type { CheckOptions, CheckProblem, CheckReport } from './store/check.ts'
export { openDriver } from './driver/drivers.ts'
export type { DriverOptions } from './driver/drivers.ts'
export type {
  ApplyOptions,
  Change,
  ChangeKind,
  DetachedMount,
  Driver,
  DriverProblem,
  FileGetter,
  LayerPaths,
  LayerQuota,
  LayerWeight,
  MountOptions,
  OpenOptions,
  ReadWriteOptions,
  StagedLayer,
} from './driver/driver.ts'
export type { IDMap, IDRange } from './driver/id-map.ts'
export { TarStream } from './driver/tar-stream.ts'
export type { FileBody, TarPiece, TarStreamOptions } from './driver/tar-stream.ts'
export { OwnedFd } from './native/fd.ts'
export type { CacheID, ChainID, DiffID, Digest } from './oci/digest.ts'
export type { ContainerConfig, ImageConfig } from './oci/config.ts'
export type { HistoryEntry } from './oci/history.ts'
export type { CompressionOptions } from './transfer/compress.ts'
export type { RegistryAuth, RegistryOptions, RegistryTimeouts } from './transfer/registry/options.ts'
export type { ImageSource, SourceImage, SourceLayer } from './transfer/source.ts'
export type { ByteSource, ByteStream } from './tar/byte-source.ts'
export type { TarLimits, TarObserver } from './tar/entry.ts'
export { CODES, EXIT, OverlaidError, SyscallError, exitStatus, hasCode, isOverlaidError } from './errors.ts'
export type { ErrorCode } from './errors.ts'
