/** Containers made and removed by a dockerd, through its API on one kept connection: what a client of it can have. */
import { Agent, request } from 'node:http'

/** Nanoseconds of each `create` + `rm`, after one that is not counted. @throws with dockerd's answer */
export async function dockerContainers(
  socketPath: string,
  image: string,
  count: number,
): Promise<{ names: string[]; each: number[]; total: number }> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const call = (method: string, path: string, body?: object): Promise<string> =>
    new Promise((resolve, reject) => {
      const headers = { 'Content-Type': 'application/json' }
      const req = request({ socketPath, path, method, agent, headers }, (response) => {
        let text = ''
        response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
        response.on('end', () => {
          if ((response.statusCode ?? 500) < 300) resolve(text)
          else reject(new Error(`dockerd: ${method} ${path}: ${text}`))
        })
      })
      req.on('error', reject).end(body && JSON.stringify(body))
    })
  const live = async (): Promise<number> => {
    const start = process.hrtime.bigint()
    const { Id } = JSON.parse(await call('POST', '/containers/create', { Image: image, Cmd: ['true'] })) as {
      Id: string
    }
    await call('DELETE', `/containers/${Id}`)
    return Number(process.hrtime.bigint() - start)
  }
  try {
    await live()
    const each: number[] = []
    for (let i = 0; i < count; i++) each.push(await live())
    return { names: [], each, total: each.reduce((sum, ns) => sum + ns, 0) }
  } finally {
    agent.destroy()
  }
}
