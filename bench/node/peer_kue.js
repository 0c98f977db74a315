// Node's Kue.
'use strict'
const kue = require('kue')
const { concurrency, connection, handle, keep, main } = require('./common')

const queue = kue.createQueue({ redis: connection })
const save = data => new Promise((resolve, reject) =>
  queue.create('bench', data).removeOnComplete(!keep).events(false).save(error => error ? reject(error) : resolve()))

const work = (job, done) => handle(job.data, result => done(null, result))

main(save, () => {
  queue.process('bench', concurrency, work)
  if (process.env.BENCH_IDLE_TYPE) queue.process('idle', concurrency, work)
})
