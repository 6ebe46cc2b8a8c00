/**
 * How many lowers an overlay's options in the mount table name.
 *
 * `lowerdir=` shows the string as mount(2) got it, the table's own octal escapes on top (backslash is `\134`);
 * between 6.5 and 6.7 it shows the names un-escaped, a colon in one as `\072`. So a separator is a colon that no
 * backslash comes before. Layers given one by one show as `lowerdir+=` each (6.8).
 */
export function countLowers(superOptions: string): number {
  let count = 0
  for (const option of superOptions.split(',')) {
    if (option.startsWith('lowerdir+=')) count++
    else if (option.startsWith('lowerdir=')) count += countNames(option.slice('lowerdir='.length))
  }
  return count
}

function countNames(list: string): number {
  if (list === '') return 0
  // An escaped backslash or character first, so that the colon after `\\` is a separator and the one after `\` not.
  return list.replace(/\\134(?:\\\d{3}|.)/gs, '').split(':').length
}
