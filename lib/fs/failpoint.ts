/**
 * Named places where a test can make the process fail or die, to prove that every durable change leaves the old
 * state or the new one. Nothing happens unless the environment arms a point before the process starts.
 */

const armed = parse(process.env['OVERLAID_FAILPOINT'])

function parse(setting: string | undefined): { name: string; action: string } | undefined {
  if (setting === undefined || setting === '') return undefined
  const [name = '', action = 'throw'] = setting.split('=')
  return { name, action }
}

/**
 * Fails here when `OVERLAID_FAILPOINT` is `name=throw`, kills the process when it is `name=kill`.
 * Names are `<object>.<operation>.<step>`, literal at each call: a test lists them from the source.
 */
export function failpoint(name: string): void {
  if (armed?.name !== name) return
  if (armed.action === 'kill') process.kill(process.pid, 'SIGKILL')
  throw new Error(`failpoint ${name}`)
}
