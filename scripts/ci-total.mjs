/**
 * Sums up a run of .ci/run: the tests' own JSON reports, and each other stage as one. The last line it prints is the
 * total; exit status 1 if anything failed.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const [folder = '.'] = process.argv.slice(2)

/** @param {string} name @returns {string[]} */
const linesOf = (name) =>
  existsSync(join(folder, name)) ? readFileSync(join(folder, name), 'utf8').trim().split('\n') : []

/** @param {string} file A report; a test file that did not even load counts as one failure. */
function countTests(file) {
  const report = JSON.parse(readFileSync(join(folder, file), 'utf8'))
  const unloaded = report.testResults.filter(
    (/** @type {{ status: string, assertionResults: unknown[] }} */ one) =>
      one.status === 'failed' && one.assertionResults.length === 0,
  )
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests + unloaded.length,
    skipped: report.numPendingTests + report.numTodoTests,
  }
}

const total = { passed: 0, failed: 0, skipped: 0 }
for (const file of readdirSync(folder).filter((name) => name.endsWith('.json'))) {
  const { passed, failed, skipped } = countTests(file)
  console.log(`${file.replace('.json', '').padEnd(8)} ${passed} passed, ${failed} failed, ${skipped} skipped`)
  total.passed += passed
  total.failed += failed
  total.skipped += skipped
}
const [good, bad] = [linesOf('passed'), linesOf('failed')]
const tests = (/** @type {string} */ name) => name.startsWith('tests: ')
total.passed += good.filter((name) => !tests(name)).length
total.failed += bad.filter((name) => !tests(name)).length
// A tier that stopped without saying which test failed: killed by its time limit, or an error outside of a test.
if (bad.some(tests) && total.failed === 0) total.failed += 1
if (bad.length > 0) console.log(`failed: ${bad.join('; ')}`)
console.log(
  `${total.passed} passed, ${total.failed} failed${total.skipped > 0 ? `, ${total.skipped} skipped` : ''}`,
)
process.exitCode = total.failed > 0 || total.passed === 0 ? 1 : 0
