/** The package has no types of its own. */
declare module 'node-gyp-build' {
  /** Loads the build of the addon in `directory` that fits this process. */
  function load(directory: string): unknown
  export default load
}
