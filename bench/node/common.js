// What the programs on Node share: counting handled jobs, the jobs' bodies, and the command line; as peers/common.py.
'use strict'
const fs = require('fs')
const path = require('path')

const folder = process.env.BENCH_DIR || '.'
const concurrency = Number(process.env.BENCH_CONCURRENCY || 10)
const keep = (process.env.BENCH_KEEP || '1') === '1'
const body = process.env.BENCH_BODY || 'noop'
const bytes = Number(process.env.BENCH_BYTES || 0)
const connection = { host: '127.0.0.1', port: Number(process.env.BENCH_PORT) }
/** Milliseconds between two writes of the tally. */
const TELL_MS = 5

let count = 0, first = 0, last = 0, told = 0, latencies

function begin () {
  const file = path.join(folder, process.pid + '.tally')
  const fd = fs.openSync(file + '.new', 'w+')
  const data = Buffer.alloc(24)
  const tell = () => {
    if (count === told) return
    told = count
    data.writeBigInt64LE(BigInt(count), 0)
    data.writeDoubleLE(first, 8)
    data.writeDoubleLE(last, 16)
    fs.writeSync(fd, data, 0, 24, 0)
  }
  fs.writeSync(fd, data, 0, 24, 0)
  fs.renameSync(file + '.new', file)
  latencies = fs.openSync(path.join(folder, 'latencies'), 'a')
  setInterval(tell, TELL_MS)
}

const now = () => performance.timeOrigin + performance.now()

/** The body of a job; calls `done` at once or later. */
function handle (data, done) {
  if (!first) first = now() / 1000
  if (data.t !== undefined) fs.writeSync(latencies, (now() - data.t * 1000).toFixed(3) + '\n')
  const end = () => { count++; last = now() / 1000; done(1) }
  if (body === 'sleep10') return setTimeout(end, 10)
  if (body === 'cpu2') for (const until = performance.now() + 2; performance.now() < until;);
  end()
}

const payload = n => bytes ? { n, x: 'x'.repeat(bytes) } : { n }
const pause = ms => new Promise(resolve => setTimeout(resolve, ms))
const say = facts => console.log(JSON.stringify(facts))

/** `enqueue(data)` and `bulk(list)` return promises; `work()` starts a worker. */
async function main (enqueue, work, bulk) {
  const [action, ...words] = process.argv.slice(2)
  if (action === 'work') {
    begin()
    return work()
  }
  const n = Number(words[0])
  if (action === 'enqueue') {
    await enqueue(payload(0))
    let made = 1
    const start = performance.now(), limit = Number(words[1]) * 1000
    while (made < n && performance.now() - start < limit) await enqueue(payload(made++))
    say({ count: made, per_s: (made - 1) / (performance.now() - start) * 1000 })
  } else if (action === 'bulk') {
    const jobs = Array.from({ length: n }, (_, i) => payload(i))
    const start = performance.now()
    for (let at = 0; at < n; at += 1000) await bulk(jobs.slice(at, at + 1000))
    say({ count: n, per_s: n / (performance.now() - start) * 1000 })
  } else if (action === 'latency') {
    await enqueue(payload(0))
    for (let i = 0; i < n; i++) {
      await pause(Number(words[1]) * (0.5 + Math.random()))
      await enqueue({ n: i, t: now() / 1000 })
    }
    say({ count: n })
  }
  process.exit(0)
}

module.exports = { concurrency, connection, handle, keep, main }
