/**
 * The tour: two images that share layers, one of them mounted, used, changed, committed, saved; everything made is
 * removed at the end.
 *
 *     npm run demo                  with two images made from Debian packages
 *     npm run demo -- IMAGE.tar     with an image of your own (`docker save`, `skopeo copy … docker-archive:`)
 */
import { spawnSync } from 'node:child_process'
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join, relative } from 'node:path'
import { hasCommand } from './debian-packages.mjs'
import { demoImages } from './demo-images.mjs'

const COMMAND = join(import.meta.dirname, '../dist/cli/main.cjs')
const MB = 1e6

/** A reason to stop that is not a bug: printed in one sentence. */
class Stop extends Error {}

/** @param {string} code @param {string} text */
const style = (code, text) =>
  process.stdout.isTTY && !process.env['NO_COLOR'] ? `\x1b[${code}m${text}\x1b[0m` : text

let steps = 0
/** @param {string} title */
const step = (title) => console.log(`\n${style('1;36', `${String(++steps)}. ${title}`)}`)
/** @param {string} text */
const note = (text) => console.log(style('2', `   ${text}`))
/** @param {string} command */
const prompt = (command) => console.log(`   ${style('1', `$ ${command}`)}`)
/** @param {string} text */
const show = (text) => {
  for (const line of text.trimEnd().split('\n')) if (line !== '') console.log(`   ${line}`)
}

/** Where the container is mounted, once it is. */
let merged = ''

/** Shortens what is long and says nothing. @param {string} text */
const tidy = (text) =>
  (merged === '' ? text : text.replaceAll(merged, '$MERGED'))
    .replaceAll(scratch, '/scratch')
    .replace(/\b([0-9a-f]{12})[0-9a-f]{52}\b/g, '$1…')

/**
 * Runs `overlaid` and returns what it printed.
 * @param {string[]} args
 */
function overlaid(args) {
  const result = spawnSync(process.execPath, [COMMAND, '--root', root, ...args], { encoding: 'utf8' })
  if (result.status !== 0) throw new Stop(`overlaid ${args.join(' ')}: ${result.stderr.trim()}`)
  return result.stdout
}

/** The same, shown. @param {string[]} args */
function overlaidShown(...args) {
  prompt(tidy(`overlaid ${args.join(' ')}`))
  const output = overlaid(args)
  show(tidy(output))
  return output.trim()
}

/** @param {string[]} argv */
function chrootShown(...argv) {
  prompt(`chroot $MERGED ${argv.map((word) => (/[\s;]/.test(word) ? `'${word}'` : word)).join(' ')}`)
  const result = spawnSync('chroot', [merged, ...argv], {
    encoding: 'utf8',
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
  })
  show(`${result.stdout}${result.stderr}`)
  return result.status === 0
}

const scratch = mkdtempSync(join(tmpdir(), 'overlaid-demo-'))
const root = join(scratch, 'root')

function checkMachine() {
  if (process.getuid?.() !== 0) throw new Stop('The demo mounts and makes device nodes: run it as root.')
}

/** What to load: the caller's file, or the two images. */
async function inputs() {
  const [file] = process.argv.slice(2)
  if (file !== undefined) {
    if (!existsSync(file)) throw new Stop(`There is no ${file}: give it an image that docker save wrote.`)
    return [file]
  }
  const needed = ['apt-get', 'dpkg-deb', 'dpkg', 'tar']
  if (!needed.every(hasCommand)) {
    throw new Stop('This is no Debian machine to make images from: give an image, npm run demo -- IMAGE.tar')
  }
  step('Two images, made from Debian packages')
  const images = await demoImages(note)
  show('nginx:demo   = base + certificates + nginx\npython:demo  = base + certificates + python')
  return images.map((image) => image.file)
}

/** @param {readonly string[]} files @returns {string} the image to go on with */
function load(files) {
  step(files.length > 1 ? 'Load both: what they share is unpacked once' : 'Load it')
  let name = ''
  for (const file of files) {
    prompt(`overlaid load -i ${basename(file)}`)
    const { images, layers } = JSON.parse(overlaid(['--json', 'load', '-i', file]))
    name = images[0].names[0] ?? images[0].id
    const { total, added, shared } = layers
    show(
      `${name}: ${total} layers, ${added} unpacked, ${shared} there already (${size(statSync(file).size)})`,
    )
  }
  overlaidShown('images')
  step(files.length > 1 ? 'Six layers in the archives, four on disk' : 'Its layers on disk')
  overlaidShown('layers')
  const folders = readdirSync(join(root, 'overlay2')).filter((entry) => /^[0-9a-f]{64}$/.test(entry))
  prompt('ls -d /scratch/root/overlay2/*/diff | wc -l')
  show(String(folders.length))
  return name
}

/** @param {number} bytes */
const size = (bytes) => `${(bytes / MB).toFixed(1)} MB`

/** @param {string} image */
function mountIt(image) {
  step('A container: its own writable layer, merged with the image by the kernel')
  overlaidShown('create', '--name', 'demo', image)
  prompt('MERGED=$(overlaid mount demo)')
  const path = overlaid(['mount', 'demo']).trim()
  show(tidy(path))
  merged = path
}

function runSomething() {
  step('A program in it')
  const hello = 'import sys; print("hello from Python", sys.version.split()[0])'
  // -B: its bytecode cache would crowd the diff below.
  const programs = [
    ['python3', '-B', '-c', hello],
    ['cat', '/etc/os-release'],
  ]
  const ran = programs.some(([name = '', ...args]) => hasProgram(name) && chrootShown(name, ...args))
  if (!ran) note('this image has neither python3 nor cat')
}

/** What is at a path of the container; a symlink is not followed: it is meant inside. @param {string} path */
const statIn = (path) => lstatSync(join(merged, path), { throwIfNoEntry: false })

/** @param {string} program */
const hasProgram = (program) =>
  ['usr/bin', 'bin', 'usr/local/bin'].some((folder) => statIn(join(folder, program)))

function changeIt() {
  step('Delete, change, add')
  const victims = ['etc/issue', 'etc/hosts.allow', 'etc/shells', 'etc/os-release', 'etc/passwd']
  const gone = victims.find((path) => statIn(path)?.isFile())
  if (gone !== undefined) {
    prompt(`rm $MERGED/${gone}`)
    rmSync(join(merged, gone))
  }
  prompt('echo "from the container" > $MERGED/etc/motd')
  mkdirSync(join(merged, 'etc'), { recursive: true })
  writeFileSync(join(merged, 'etc/motd'), 'from the container\n')
  prompt('mkdir -p $MERGED/srv/new')
  mkdirSync(join(merged, 'srv/new'), { recursive: true })
  overlaidShown('diff', 'demo')

  step('On disk: only what changed. What was deleted is a whiteout, a character device 0:0')
  const upper = JSON.parse(overlaid(['--json', 'inspect', 'demo'])).upperdir
  prompt(`find ${tidy(upper)} -printf '%M %P\\n'`)
  const found = spawnSync('find', [upper, '-mindepth', '1', '-printf', '%M  %P\n'], {
    encoding: 'utf8',
  }).stdout
  for (const line of found.trim().split('\n')) {
    show(line.startsWith('c') ? `${line}   ${style('33', '<- whiteout')}` : line)
  }
}

function commitIt() {
  step('Commit the changes as a layer, save the image')
  overlaidShown('unmount', 'demo')
  overlaidShown('commit', '-m', 'demo', 'demo', 'mine:latest')
  const archive = join(scratch, 'mine.tar')
  overlaidShown('save', '-o', archive, 'mine:latest')
  note(`${relative(scratch, archive)}: ${size(statSync(archive).size)}, for docker load`)
  overlaidShown('history', 'mine:latest')
  overlaidShown('check')
}

/** Leaves nothing: a failure on the way must not leave a mount. */
function clean() {
  if (existsSync(root)) {
    spawnSync(process.execPath, [COMMAND, '--root', root, 'unmount', 'demo'])
    spawnSync(process.execPath, [COMMAND, '--root', root, 'unmount', '--force', 'demo'])
  }
  rmSync(scratch, { recursive: true, force: true })
}

process.on('SIGINT', () => {
  clean()
  process.exit(130)
})
try {
  checkMachine()
  const image = load(await inputs())
  mountIt(image)
  runSomething()
  changeIt()
  commitIt()
  console.log(`\n${style('32', 'Done; unmounted, and the data root is deleted again.')}`)
} catch (error) {
  if (!(error instanceof Stop)) throw error
  console.error(error.message)
  process.exitCode = 1
} finally {
  clean()
}
