// Bee-Queue.
'use strict'
const Queue = require('bee-queue')
const { concurrency, connection, handle, keep, main } = require('./common')

const settings = { redis: connection, removeOnSuccess: !keep, storeJobs: false, getEvents: false }
let queue
const target = () => (queue = queue || new Queue('bench', { ...settings, isWorker: false, sendEvents: false }))

function work () {
  new Queue('bench', settings).process(concurrency, (job, done) => handle(job.data, result => done(null, result)))
}

main(data => target().createJob(data).save(), work, list => target().saveAll(list.map(data => target().createJob(data))))
