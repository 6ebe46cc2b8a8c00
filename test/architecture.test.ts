/** Imports go one way, and some things have one home: read from the sources, so that a wrong turn fails here. */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import ts from 'typescript'
import { describe, expect, it } from 'vitest'

const ROOT = join(import.meta.dirname, '..')
const LIB = join(ROOT, 'lib')

/** What each area may import besides itself. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  errors: [],
  native: ['tar', 'errors'],
  fs: ['native', 'errors'],
  oci: ['errors'],
  tar: ['oci', 'errors'],
  transfer: ['native', 'tar', 'oci', 'fs', 'errors'],
  driver: ['native', 'fs', 'tar', 'oci', 'errors'],
  store: ['driver', 'transfer', 'native', 'fs', 'tar', 'oci', 'errors'],
  cli: ['store', 'driver', 'transfer', 'oci', 'fs', 'errors'],
  // The package's second face. Nothing imports it but tests.
  'driver-suite': ['driver', 'native', 'tar'],
  index: ['store', 'driver', 'transfer', 'native', 'tar', 'oci', 'errors'],
}

interface Import {
  readonly file: string
  readonly specifier: string
  readonly typeOnly: boolean
}

const files = readdirSync(LIB, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts'))
  .map((name) => join(LIB, name))
const sources = new Map(files.map((file) => [file, readFileSync(file, 'utf8')]))
const imports = files.flatMap((file) => importsOf(file, sources.get(file) ?? ''))

function importsOf(file: string, text: string): Import[] {
  const found: Import[] = []
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) {
      const typeOnly = ts.isImportDeclaration(node)
        ? node.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword
        : node.isTypeOnly
      if (node.moduleSpecifier) found.push({ file, specifier: literal(node.moduleSpecifier), typeOnly })
    } else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      // import() is how the command loads a verb: lazy, so it closes no circle.
      const [argument] = node.arguments
      if (argument) found.push({ file, specifier: literal(argument), typeOnly: true })
    }
    ts.forEachChild(node, visit)
  }
  visit(ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true))
  return found
}

function literal(node: ts.Node): string {
  return ts.isStringLiteralLike(node) ? node.text : ''
}

/** The area of a file: the folder below lib/, or the file's own name in lib/ itself. */
function areaOf(file: string): string {
  return relative(LIB, file).replace(/\.ts$/, '').split('/')[0] ?? ''
}

const local = imports
  .filter(({ specifier }) => specifier.startsWith('.'))
  .map((one) => ({ ...one, target: resolve(dirname(one.file), one.specifier) }))

const show = (file: string, target: string): string => `${relative(ROOT, file)} -> ${relative(ROOT, target)}`

describe('the sources', () => {
  it('were found', () => {
    expect(files.length).toBeGreaterThan(20)
    expect(local.length).toBeGreaterThan(files.length)
  })

  it('belong to an area that the table names', () => {
    expect([...new Set(files.map(areaOf))].filter((area) => !(area in MAY_IMPORT))).toEqual([])
  })

  it('import one way only', () => {
    const wrong = local.filter(({ file, target }) => {
      const [from, to] = [areaOf(file), areaOf(target)]
      return from !== to && !MAY_IMPORT[from]?.includes(to)
    })
    expect(wrong.map(({ file, target }) => show(file, target))).toEqual([])
  })

  it('try drivers by their interface alone', () => {
    const used = local.filter(
      ({ file, target }) => areaOf(file) === 'driver-suite' && areaOf(target) === 'driver',
    )
    expect(used.length).toBeGreaterThan(0)
    expect(used.filter(({ typeOnly }) => !typeOnly).map(({ file, target }) => show(file, target))).toEqual([])
  })

  it('do not import each other in a circle', () => {
    const edges = local.filter(({ typeOnly }) => !typeOnly)
    const done = new Set<string>()
    const circles: string[] = []
    const visit = (file: string, path: readonly string[]): void => {
      if (path.includes(file)) circles.push([...path, file].map((one) => relative(LIB, one)).join(' -> '))
      if (path.includes(file) || done.has(file)) return
      for (const { target } of edges.filter((edge) => edge.file === file)) visit(target, [...path, file])
      done.add(file)
    }
    for (const file of files) visit(file, [])
    expect(circles).toEqual([])
  })
})

describe('one home', () => {
  /** Files whose code, comments left out, has the pattern. */
  const having = (pattern: RegExp): string[] =>
    files
      .filter((file) => pattern.test(withoutComments(sources.get(file) ?? '')))
      .map((file) => relative(LIB, file))

  it('of the addon is lib/native/binding.ts', () => {
    expect(having(/node-gyp-build|\.node\b['"]/)).toEqual(['native/binding.ts'])
  })

  it('of the exit status is lib/cli/main.ts', () => {
    expect(having(/process\s*\.\s*(exit|exitCode|abort|reallyExit)\b/)).toEqual(['cli/main.ts'])
  })

  it('of child processes are two programs of drivers and credential helpers: nothing else is started', () => {
    const starting = imports.filter(({ specifier }) => /child_process|worker_threads|cluster/.test(specifier))
    expect(starting.map(({ file }) => relative(LIB, file)).sort()).toEqual([
      'driver/fuse-overlayfs/program.ts',
      'driver/zfs/command.ts',
      'transfer/registry/credential-helper.ts',
    ])
  })
})

function withoutComments(text: string): string {
  const scanner = ts.createScanner(ts.ScriptTarget.Latest, true, ts.LanguageVariant.Standard, text)
  const tokens: string[] = []
  while (scanner.scan() !== ts.SyntaxKind.EndOfFileToken) tokens.push(scanner.getTokenText())
  return tokens.join('')
}
