import { defineConfig } from 'vitest/config'

/** The tiers of the suite, each a project of its own so that a listing tells what ran. */
const tier = (name: string, include: string[], testTimeout = 30_000) => ({
  extends: true as const,
  test: { name, include, testTimeout, hookTimeout: 180_000 },
})

export default defineConfig({
  test: {
    pool: 'forks',
    maxWorkers: 2,
    setupFiles: ['test/helpers/seed.ts'],
    projects: [
      tier('unit', ['test/{errors,fs,tar,oci,transfer,cli,architecture}/**/*.test.ts', 'test/*.test.ts']),
      tier('kernel', ['test/{native,driver,store}/**/*.test.ts'], 60_000),
      tier('quota', ['test/quota/**/*.test.ts'], 300_000),
      tier('zfs', ['test/zfs/**/*.test.ts'], 600_000),
      tier('thin', ['test/thin/**/*.test.ts'], 300_000),
      tier('fault', ['test/fault/**/*.test.ts'], 600_000),
      tier('fuzz', ['test/fuzz/**/*.test.ts'], 300_000),
      tier('e2e', ['test/{e2e,package}/**/*.test.ts'], 600_000),
      tier('bench', ['test/bench/*.bench.ts'], 1_800_000),
    ],
  },
})
