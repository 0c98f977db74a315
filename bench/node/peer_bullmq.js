// BullMQ.
'use strict'
const { Queue, Worker } = require('bullmq')
const { concurrency, connection, handle, keep, main } = require('./common')

const options = keep ? {} : { removeOnComplete: true }
let queue
const target = () => (queue = queue || new Queue('bench', { connection }))

function work () {
  const worker = new Worker('bench', job => new Promise(resolve => handle(job.data, resolve)), { connection, concurrency })
  worker.on('error', error => console.error(error.message))
}

main(data => target().add('bench', data, options), work,
  list => target().addBulk(list.map(data => ({ name: 'bench', data, opts: options }))))
