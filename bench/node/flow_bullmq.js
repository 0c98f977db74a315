// BullMQ's flow of one parent and CHILDREN children: node flow_bullmq.js PORT CHILDREN CONCURRENCY
'use strict'
const { FlowProducer, Worker } = require('bullmq')

const [port, count, concurrency] = process.argv.slice(2).map(Number)
const connection = { host: '127.0.0.1', port }

async function main () {
  const producer = new FlowProducer({ connection })
  await producer.add({ name: 'warm', queueName: 'other', children: [{ name: 'x', queueName: 'other', data: {} }] })
  const children = Array.from({ length: count }, (_, n) => ({ name: 'child', queueName: 'flow', data: { n } }))
  const begun = performance.now()
  await producer.add({ name: 'parent', queueName: 'flow', data: {}, children })
  const created = performance.now()
  let first = 0
  const worker = new Worker('flow', async job => {
    first = first || performance.now()
    if (job.name !== 'parent') return job.data.n
    const values = Object.values(await job.getChildrenValues())
    if (values.length !== count) throw new Error(`${values.length} results of ${count}`)
    return values.length
  }, { connection, concurrency })
  worker.on('error', error => console.error(error.message))
  worker.on('failed', (job, error) => { console.error(error.message); process.exit(1) })
  worker.on('completed', job => {
    if (job.name !== 'parent') return
    console.log(JSON.stringify({ create_s: (created - begun) / 1000, work_s: (performance.now() - first) / 1000 }))
    process.exit(0)
  })
}

main()
