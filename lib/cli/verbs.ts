/**
 * The verbs, by name: the line that `overlaid --help` has for each, and where its module is. A module is loaded
 * when its verb is asked for, so that the help, and a wrong verb, cost nothing of the store.
 */
import type { Verb } from './verb.ts'

export interface VerbEntry {
  readonly name: string
  readonly group: 'Images:' | 'Containers:' | 'Store:'
  readonly summary: string
  readonly load: () => Promise<{ readonly verb: Verb }>
}

function entry(group: VerbEntry['group'], name: string, summary: string, load: VerbEntry['load']): VerbEntry {
  return { group, name, summary, load }
}

export const VERBS: readonly VerbEntry[] = [
  entry('Images:', 'load', 'load images from an archive or layout', () => import('./load.ts')),
  entry('Images:', 'migrate', 'take over the images of an old driver', () => import('./migrate.ts')),
  entry('Images:', 'pull', 'get an image from a registry', () => import('./pull.ts')),
  entry('Images:', 'push', 'send an image to a registry', () => import('./push.ts')),
  entry('Images:', 'login', 'keep credentials for a registry', () => import('./login.ts')),
  entry('Images:', 'logout', 'forget them', () => import('./logout.ts')),
  entry('Images:', 'save', 'write images to an archive', () => import('./save.ts')),
  entry('Images:', 'import', 'make an image of a root file system tar', () => import('./import.ts')),
  entry('Images:', 'export', 'write a merged root file system as a tar', () => import('./export.ts')),
  entry('Images:', 'images', 'list images', () => import('./images.ts')),
  entry('Images:', 'layers', 'list layers', () => import('./layers.ts')),
  entry('Images:', 'inspect', 'show all about an image or container', () => import('./inspect.ts')),
  entry('Images:', 'history', 'show how an image was made', () => import('./history.ts')),
  entry('Images:', 'tag', 'give an image another name', () => import('./tag.ts')),
  entry('Images:', 'rmi', 'remove images', () => import('./rmi.ts')),
  entry(
    'Containers:',
    'create',
    'make a container: a writable layer on an image',
    () => import('./create.ts'),
  ),
  entry('Containers:', 'ps', 'list containers', () => import('./ps.ts')),
  entry('Containers:', 'mount', 'mount a container, or an image read-only', () => import('./mount.ts')),
  entry('Containers:', 'unmount', 'undo mount', () => import('./unmount.ts')),
  entry('Containers:', 'diff', 'show what a container changed', () => import('./diff.ts')),
  entry('Containers:', 'commit', 'make an image of a container', () => import('./commit.ts')),
  entry('Containers:', 'rm', 'remove containers', () => import('./rm.ts')),
  entry(
    'Store:',
    'info',
    'show the driver, the file system and what the kernel can do',
    () => import('./info.ts'),
  ),
  entry('Store:', 'probe', 'show which drivers work on a folder', () => import('./probe.ts')),
  entry('Store:', 'df', 'show where the bytes are', () => import('./df.ts')),
  entry('Store:', 'gc', 'remove what crashes left and what nothing needs', () => import('./gc.ts')),
  entry('Store:', 'check', 'verify the store, and repair it', () => import('./check.ts')),
]
