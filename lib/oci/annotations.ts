/** Annotations that name an image in an index. */

/** A whole reference: docker, containerd, buildkit. */
export const IMAGE_NAME = 'io.containerd.image.name'
/** A whole reference (podman, buildah) or a tag alone. @see OCI image-spec, annotations.md */
export const REF_NAME = 'org.opencontainers.image.ref.name'
/** On attestations, which buildkit lists among the platforms of an image. */
export const REFERENCE_TYPE = 'vnd.docker.reference.type'
