/**
 * The demo's two images, made from Debian packages without Docker: the classic example of shared layers.
 *
 *     nginx:  base + certificates + nginx
 *     python: base + certificates + python
 *
 * Run by itself it writes both: `node scripts/demo-images.mjs DIR`.
 */
import { createHash } from 'node:crypto'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { CACHE, downloadPackages, run, unpackPackages } from './debian-packages.mjs'
import { packLayer, writeDockerArchive } from './docker-archive.mjs'

/**
 * `finish` stands in for the packages' maintainer scripts, which do not run.
 * @typedef {{ name: string, packages: string[], finish: (dir: string) => void }} Recipe
 * @typedef {{ name: string, file: string }} DemoImage
 */

/** @type {Recipe} */
const BASE = {
  name: 'base',
  packages: ['base-files', 'base-passwd', 'busybox-static', 'libc6'],
  finish(dir) {
    for (const file of ['passwd', 'group']) {
      copyFileSync(join(dir, `usr/share/base-passwd/${file}.master`), join(dir, 'etc', file))
    }
    const busybox = ['bin/busybox', 'usr/bin/busybox'].find((path) => existsSync(join(dir, path))) ?? ''
    for (const applet of run(join(dir, busybox), ['--list']).trim().split('\n')) {
      const path = join(dir, 'bin', applet)
      if (!existsSync(path)) symlinkSync(`/${busybox}`, path)
    }
  },
}

/** @type {Recipe} */
const CERTIFICATES = {
  name: 'certificates',
  packages: ['ca-certificates'],
  finish(dir) {
    const source = join(dir, 'usr/share/ca-certificates/mozilla')
    const target = join(dir, 'etc/ssl/certs')
    const files = readdirSync(source).sort()
    mkdirSync(target, { recursive: true })
    for (const file of files) {
      symlinkSync(`/usr/share/ca-certificates/mozilla/${file}`, join(target, file.replace(/crt$/, 'pem')))
    }
    const bundle = files.map((file) => readFileSync(join(source, file), 'utf8')).join('')
    writeFileSync(join(target, 'ca-certificates.crt'), bundle)
  },
}

/** @type {Recipe} */
const NGINX = {
  name: 'nginx',
  packages: ['nginx-light'],
  finish(dir) {
    mkdirSync(join(dir, 'etc/nginx/sites-enabled'), { recursive: true })
    symlinkSync('/etc/nginx/sites-available/default', join(dir, 'etc/nginx/sites-enabled/default'))
    mkdirSync(join(dir, 'var/www/html'), { recursive: true })
    writeFileSync(join(dir, 'var/www/html/index.html'), '<h1>It works</h1>\n')
  },
}

/** @type {Recipe} */
const PYTHON = { name: 'python', packages: ['python3-minimal'], finish: () => undefined }

/**
 * Makes the images, or takes them from the cache: delete {@link CACHE} to have them made of newer packages.
 * @param {(line: string) => void} [say]
 * @returns {Promise<DemoImage[]>}
 */
export async function demoImages(say = () => undefined) {
  const recipes = readFileSync(fileURLToPath(import.meta.url))
  const key = createHash('sha256').update(recipes).update(readFileSync('/etc/os-release')).digest('hex')
  const folder = join(CACHE, `demo-${key.slice(0, 16)}`)
  if (!existsSync(folder)) await build(folder, say)
  return [NGINX, PYTHON].map(({ name }) => ({ name: `${name}:demo`, file: join(folder, `${name}.tar`) }))
}

/**
 * @param {string} folder
 * @param {(line: string) => void} say
 */
async function build(folder, say) {
  mkdirSync(CACHE, { recursive: true })
  const work = mkdtempSync(join(CACHE, 'work-'))
  /** @param {Recipe} recipe @param {readonly string[]} packages */
  const pack = (recipe, packages) => {
    const dir = join(work, recipe.name)
    unpackPackages(packages, dir)
    recipe.finish(dir)
    return packLayer(recipe.name, dir, join(work, `${recipe.name}.layer`), { clamp: true })
  }
  try {
    say('downloading packages (apt-get)')
    const [base = [], ...closures] = downloadPackages(
      [BASE, CERTIFICATES, NGINX, PYTHON].map((r) => r.packages),
    )
    const [certificates = [], ...tops] = closures.map((files) => without(files, base))
    say('unpacking them and packing layers (dpkg-deb, tar)')
    const shared = [await pack(BASE, base), await pack(CERTIFICATES, certificates)]
    for (const [i, recipe] of [NGINX, PYTHON].entries()) {
      const layers = [...shared, await pack(recipe, without(tops[i] ?? [], certificates))]
      writeDockerArchive(join(work, 'images', `${recipe.name}.tar`), `${recipe.name}:demo`, layers)
    }
    // Last, so that an interrupted build leaves no half of a cache.
    renameSync(join(work, 'images'), folder)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

/**
 * @param {readonly string[]} files
 * @param {readonly string[]} others
 */
function without(files, others) {
  return files.filter((file) => !others.includes(file))
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const dir = process.argv[2]
  if (dir === undefined) throw new Error('usage: node scripts/demo-images.mjs DIR')
  mkdirSync(dir, { recursive: true })
  for (const { file } of await demoImages((line) => process.stderr.write(`${line}\n`))) {
    copyFileSync(file, join(dir, basename(file)))
    process.stdout.write(`${join(dir, basename(file))}\n`)
  }
}
