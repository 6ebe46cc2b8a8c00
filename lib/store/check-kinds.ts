/**
 * Every kind of problem that check reports: what it means and what mends it. Damage is a store that does not say or
 * hold what it should; rubbish is what nothing needs, left by a crash or by a removal of its last user, and gc's to
 * remove. `check --repair` mends damage where nothing can be lost by it, and only there.
 */

/** `damage`: the store is not `ok`. `rubbish`: it is ok but not clean. */
export type Severity = 'damage' | 'rubbish'

interface KindFacts {
  readonly severity: Severity
  readonly meaning: string
  /** What `--repair` does, or gc, or what the user can do. */
  readonly remedy: string
}

export const KINDS = {
  // Layers: image/<driver>/layerdb/sha256/<chainID>
  'bad-layer-diff': {
    severity: 'damage',
    meaning: "the layer's `diff` file is missing or holds no diffID",
    remedy:
      "repair writes it anew where an image's config tells it; else load an image that has the layer again",
  },
  'bad-layer-parent': {
    severity: 'damage',
    meaning: "the layer's name is not the digest of its parent and its diffID",
    remedy:
      'repair writes `parent` anew where the parent is found; else load an image that has the layer again',
  },
  'bad-layer-size': {
    severity: 'damage',
    meaning:
      "the layer's `size` file is missing or not plain digits: dockerd drops the layer and all its images",
    remedy: 'repair counts again and writes it anew',
  },
  'bad-layer-cache-id': {
    severity: 'damage',
    meaning: "the layer's `cache-id` file is missing or names no folder",
    remedy:
      "repair finds the folder that has the layer's content; else load an image that has the layer again",
  },
  'missing-parent-layer': {
    severity: 'damage',
    meaning: 'the layer below this one is not in the store',
    remedy: 'load an image that has the layer again',
  },
  'missing-layer-folder': {
    severity: 'damage',
    meaning: "the layer's folder in the driver's home is gone",
    remedy: 'load an image that has the layer again',
  },
  'bad-tar-split': {
    severity: 'damage',
    meaning: "the layer's tar-split data is missing or unreadable: it mounts, but cannot be saved or pushed",
    remedy: 'repair marks the layer, so that a load replaces it: load an image that has the layer again',
  },
  'changed-layer': {
    severity: 'damage',
    meaning: "the layer's files are not what its diffID says: a file was changed under it",
    remedy: 'repair marks the layer, so that a load replaces it: load an image that has the layer again',
  },
  'unused-layer': {
    severity: 'rubbish',
    meaning: 'no image, container, mount or running operation needs the layer',
    remedy: 'gc removes it',
  },
  'stale-tombstone': {
    severity: 'rubbish',
    meaning: 'a removal of the layer was cut off',
    remedy: 'gc finishes it',
  },
  'stale-mark': {
    severity: 'rubbish',
    meaning: 'a note that a layer is damaged, but the layer is gone',
    remedy: 'gc removes it',
  },
  'stale-write-set': {
    severity: 'rubbish',
    meaning: 'a record that was being written when its process died',
    remedy: 'gc removes it',
  },

  // Images: image/<driver>/imagedb and repositories.json
  'changed-image-config': {
    severity: 'damage',
    meaning: "the image's config does not have the digest that is the image's id",
    remedy: 'load the image again, or remove it',
  },
  'bad-image-config': {
    severity: 'damage',
    meaning: "the image's config has the right digest but not the form of a config",
    remedy: 'remove the image',
  },
  'missing-image-layer': {
    severity: 'damage',
    meaning: 'a layer of the image is not in the store',
    remedy: 'load the image again, or remove it',
  },
  'stale-image-notes': {
    severity: 'rubbish',
    meaning: 'notes about an image that is gone',
    remedy: 'gc removes them',
  },
  'bad-names': {
    severity: 'damage',
    meaning: 'repositories.json does not have its form: dockerd does not start',
    remedy: 'repair keeps every name that can still be read, and a copy of the old file in `overlaid/`',
  },
  'dangling-name': {
    severity: 'damage',
    meaning: 'a name points to an image that is not in the store',
    remedy: 'repair takes the name away; or load the image again first',
  },

  // Containers: layerdb/mounts, overlaid/containers, containers/
  'bad-container-entry': {
    severity: 'damage',
    meaning: "the container's `mount-id`, `init-id` or `parent` is missing or malformed",
    remedy: "repair derives it from the others and from the container's record where they tell",
  },
  'empty-container-entry': {
    severity: 'rubbish',
    meaning: 'an entry in layerdb/mounts that says nothing: its creation or removal was cut off',
    remedy: 'gc removes it',
  },
  'missing-container-folder': {
    severity: 'damage',
    meaning: "the container's writable layer, or its init layer, is gone from the driver's home",
    remedy: 'its changes are lost: remove the container and create it again',
  },
  'missing-container-layer': {
    severity: 'damage',
    meaning: 'the layer that the container stands on is not in the store',
    remedy: 'load an image that has the layer again',
  },
  'bad-container-record': {
    severity: 'damage',
    meaning: "the container's own record (name, image, config) does not have its form",
    remedy: 'the files of the container are untouched: copy them out, then remove it',
  },
  'stale-container-record': {
    severity: 'rubbish',
    meaning: "a container's record without the container: its creation or removal was cut off",
    remedy: 'gc removes it',
  },
  'bad-docker-container': {
    severity: 'damage',
    meaning: "a config.v2.json of dockerd's does not have its form: dockerd will not show the container",
    remedy: 'restore the file, or remove its folder while dockerd is stopped',
  },
  'missing-docker-layer': {
    severity: 'damage',
    meaning: "a container of dockerd's has no entry in layerdb/mounts: it cannot be started",
    remedy: 'remove the container by dockerd',
  },

  // The driver's home
  'unclaimed-folder': {
    severity: 'damage',
    meaning: "a folder in the driver's home that may belong to a record which cannot be read; it is kept",
    remedy: 'mend the damaged records first, then gc removes what is left',
  },
  'orphan-layer': {
    severity: 'rubbish',
    meaning: "a folder in the driver's home that no layer, container or running operation names",
    remedy: 'gc removes it',
  },
  'stale-mount': {
    severity: 'rubbish',
    meaning: "a mount below the driver's home that no process holds any more",
    remedy: 'gc unmounts it',
  },

  'missing-diff': {
    severity: 'damage',
    meaning: "the layer's folder has no content any more",
    remedy: 'repair marks the layer, so that a load replaces it: load an image that has the layer again',
  },
  'missing-link': {
    severity: 'damage',
    meaning: "the layer's `link` file is missing or holds no name of l/",
    remedy: 'repair writes it anew',
  },
  'missing-l-entry': {
    severity: 'damage',
    meaning: "the layer's entry in l/ is missing or points elsewhere: mounts of its children fail",
    remedy: 'repair makes it anew',
  },
  'missing-lower': {
    severity: 'damage',
    meaning: "the layer's `lower` file, which names its parents, is missing",
    remedy: "repair writes it anew from the records of the layer's parents",
  },
  'wrong-lower': {
    severity: 'damage',
    meaning: "the layer's `lower` file does not name the parents that the records do",
    remedy: "repair writes it anew from the records of the layer's parents",
  },
  'missing-work': {
    severity: 'damage',
    meaning: "the layer's work folder is missing: it cannot be mounted writable",
    remedy: 'repair makes it anew',
  },
  'dead-mount': {
    severity: 'damage',
    meaning:
      'the process that served a mount has died (fuse-overlayfs): nothing can be read or written there',
    remedy: 'repair unmounts it; what was written is in the layer',
  },
  'stale-merged': {
    severity: 'rubbish',
    meaning: 'a mount point with nothing mounted on it',
    remedy: 'gc removes it',
  },
  'dangling-l-entry': {
    severity: 'rubbish',
    meaning: 'an entry in l/ that is the name of no layer',
    remedy: 'gc removes it',
  },
  'stale-staging': {
    severity: 'rubbish',
    meaning: 'a layer that was being unpacked when its process died',
    remedy: 'gc removes it',
  },
  trash: {
    severity: 'rubbish',
    meaning: 'a removed layer that is not deleted yet',
    remedy: 'gc deletes it',
  },
  'probe-folder': {
    severity: 'rubbish',
    meaning: "a trial of the file system's abilities that was cut off",
    remedy: 'gc removes it',
  },

  'driver-damage': {
    severity: 'damage',
    meaning: 'something that only this driver has and knows, as the detail says',
    remedy: 'repair mends it where the driver can',
  },
  'driver-rubbish': {
    severity: 'rubbish',
    meaning: 'something left over that only this driver has and knows, as the detail says',
    remedy: 'gc removes it',
  },

  // What runs, and what ran: overlaid/
  'stale-lease': {
    severity: 'rubbish',
    meaning: 'what a process that is gone needed',
    remedy: 'gc removes it',
  },
  'stale-hold': {
    severity: 'rubbish',
    meaning: "a mount's record whose process or boot is gone",
    remedy: 'gc unmounts what is left of it and removes the record',
  },
  'stale-lock': {
    severity: 'rubbish',
    meaning: 'the lock file of a container that is gone',
    remedy: 'gc removes it',
  },
  'temp-file': {
    severity: 'rubbish',
    meaning: 'a file that was being written when its process died',
    remedy: 'gc removes it',
  },
  'bad-cache-entry': {
    severity: 'rubbish',
    meaning: "an entry of dockerd's pull cache that does not have its form",
    remedy: 'gc removes it',
  },
  'loose-mode': {
    severity: 'damage',
    meaning: 'a folder of the root is open to every user, who can run the setuid files of its layers',
    remedy: 'repair closes it (CVE-2021-41091)',
  },
} as const

export type ProblemKind = keyof typeof KINDS

/** How bad a problem of this kind is. */
export function severityOf(kind: ProblemKind): Severity {
  const facts: Readonly<Record<ProblemKind, KindFacts>> = KINDS
  return facts[kind].severity
}

/** Whether a driver's word for a problem is one of these. */
export function isProblemKind(kind: string): kind is ProblemKind {
  return kind in KINDS
}
