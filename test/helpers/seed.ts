/** With FUZZ_SEED every property of the suite takes that seed, so that a run in CI depends on the commit alone. */
const seed = process.env['FUZZ_SEED']
if (seed !== undefined) {
  const { default: fc } = await import('fast-check')
  fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: Number(seed) })
}
export {}
