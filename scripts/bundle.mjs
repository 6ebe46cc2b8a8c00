/**
 * Makes the command of its modules: dist/cli/main.cjs and a few files beside it, the packages that the command needs
 * among them. `ps` is loaded from five files then and not from a hundred. CommonJS, since starting the ES module
 * loader takes as long as what `ps` does.
 */
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { rolldown } from 'rolldown'

const ROOT = join(import.meta.dirname, '..')
const OUTPUT = join(ROOT, 'dist/cli')

/** Modules of Node's that take milliseconds to load and that most verbs have no use for, or only when they fail. */
const HEAVY = ['child_process', 'crypto', 'module', 'os', 'timers/promises', 'url', 'util']

/**
 * What rolldown writes for a name that another file of the bundle imports. A value does: nothing that is exported is
 * assigned to later, and 160 functions are half of what V8 compiles at first.
 */
const GETTER =
  /^Object\.defineProperty\(exports, "(\w+)", \{\s+enumerable: true,\s+get: function\(\) \{\s+return (\w+);\s+\}\s+\}\);$/gm

/**
 * Makes the code of a file quick to load. No line moves but the last ones, so that the source map stays right.
 * @param {string} code
 */
function quickToLoad(code) {
  // Loads a module of Node's when something of it is used. None of them is imported by default or as a whole.
  const call = new RegExp(`\\brequire\\("(node:(?:${HEAVY.join('|')}))"\\)`, 'g')
  const late = 'new Proxy({}, { get: (_, key) => require("$1")[key] })'
  // V8 reads a file that is not ASCII at two bytes a character. Outside of strings there is none.
  /** @param {string} char */
  const escape = (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`
  return code
    .replace(call, late)
    .replace(GETTER, 'exports.$1 = $2;')
    .replace(/[^\0-\x7f]/g, escape)
}

/** Names of the packages whose modules are in the bundle. @param {readonly string[]} ids of modules, absolute */
function packagesOf(ids) {
  const names = ids.map((id) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(id)?.[1])
  return [...new Set(names.filter((name) => name !== undefined))].sort()
}

/** The licence of a package, as its author ships it. @param {string} name */
function licenceOf(name) {
  const folder = join(ROOT, 'node_modules', name)
  const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry))
  if (file === undefined) throw new Error(`${name} has no licence file: it cannot be in the bundle`)
  return `${name}\n${'='.repeat(name.length)}\n\n${readFileSync(join(folder, file), 'utf8').trim()}\n`
}

const bundle = await rolldown({
  input: { main: join(ROOT, 'lib/cli/main.ts') },
  platform: 'node',
  transform: { target: 'node20.19' },
  // What the library imports late and the command at once stays one module, and that is meant.
  checks: { ineffectiveDynamicImport: false },
})
const { output } = await bundle.generate({
  format: 'cjs',
  sourcemap: true,
  comments: false,
  entryFileNames: '[name].cjs',
  chunkFileNames: '[name].cjs',
  codeSplitting: {
    groups: [
      // What `overlaid --help` shares with the store.
      { name: 'common', test: /lib\/errors\.ts$|rolldown\/runtime|usingCtx/, priority: 2 },
      // What every verb that opens a store loads.
      { name: 'store', test: /lib\/store\/store\.ts$/, priority: 1 },
    ],
  },
})
rmSync(OUTPUT, { recursive: true, force: true })
mkdirSync(OUTPUT, { recursive: true })
for (const part of output) {
  const text = part.type === 'chunk' ? quickToLoad(part.code) : part.source
  writeFileSync(join(OUTPUT, part.fileName), text)
}
const modules = output.flatMap((chunk) => (chunk.type === 'chunk' ? chunk.moduleIds : []))
writeFileSync(join(OUTPUT, 'LICENSES.txt'), packagesOf(modules).map(licenceOf).join('\n\n'))
