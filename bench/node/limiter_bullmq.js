// BullMQ's worker, with a limiter that is never reached or without: node limiter_bullmq.js PORT JOBS CONCURRENCY LIMITED
'use strict'
const { Queue, Worker } = require('bullmq')

const [port, jobs, concurrency, limited] = process.argv.slice(2).map(Number)
const connection = { host: '127.0.0.1', port }

async function main () {
  const queue = new Queue('limited', { connection })
  for (let at = 0; at < jobs; at += 1000) {
    await queue.addBulk(Array.from({ length: Math.min(1000, jobs - at) }, (_, n) => ({ name: 'x', data: { n } })))
  }
  const options = limited ? { limiter: { max: 1e9, duration: 1000 } } : {}
  let done = 0
  const start = performance.now()
  const worker = new Worker('limited', async () => 1, { connection, concurrency, ...options })
  worker.on('error', error => console.error(error.message))
  worker.on('completed', () => {
    if (++done < jobs) return
    console.log(JSON.stringify({ per_s: jobs / (performance.now() - start) * 1000 }))
    process.exit(0)
  })
}

main()
