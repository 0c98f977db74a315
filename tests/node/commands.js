'use strict';
// The commands of driver.js, each a few lines around Node Kue's public API. Names and meanings of options are Kue's.

const path = require('path');
const redisModule = require('redis');
const behavior = require('./behavior');

const KUE_HOME = path.dirname(require.resolve('kue/package.json')) + path.sep;
let kue = require('kue');

// Kue keeps no list of its connections.
const clients = new Set();
const createClient = redisModule.createClient;
redisModule.createClient = (...args) => {
  const client = createClient(...args);
  clients.add(client);
  return client;
};

/** Call fn(callback) and make a promise of it. */
const done = fn => new Promise((resolve, reject) => fn((err, value) => (err ? reject(err) : resolve(value))));
const getJob = id => done(cb => kue.Job.get(id, cb));

const EVENTS = ['enqueue', 'start', 'promotion', 'progress', 'failed attempt', 'failed', 'complete', 'remove', 'error',
  'ttl exceeded', 'ttl exceeded ack'];

class Commands {
  /** note(name, fields) tells the other side something it did not ask for. */
  constructor(note) {
    this.note = note;
    this.queue = null;
    this.server = null;
  }

  /** options: Kue's own for createQueue. */
  async open(options) {
    const queue = this.queue = kue.createQueue(options);
    queue.on('error', err => {
      if (queue === this.queue) this.note('queue error', { message: String((err && err.message) || err) });
    });
    return { pid: process.pid, version: kue.version };
  }

  // -- producing ------------------------------------------------------------------------------------------------

  /** Make and save a job. options: {priority: "high", attempts: 3, …}, each the name of a Job method.
   *  options.listen: tell each event that the Job object itself hears. options.backoffCode: a function's source. */
  async create(type, data, options) {
    const { listen, backoffCode, ...calls } = options || {};
    const job = this.queue.create(type, data);
    if (backoffCode) job.backoff(new Function(`return ${backoffCode}`)());
    for (const name of Object.keys(calls)) job[name](calls[name]);
    if (listen) {
      for (const event of EVENTS) {
        job.on(event, (...args) => this.note('job heard', { id: job.id, event, args }));
      }
    }
    await done(cb => job.save(cb));
    return job.id;
  }

  /** jobs: [[type, data, options], …] -> ids, in order; saved all at once, as a busy program does. */
  async createMany(jobs) {
    return Promise.all(jobs.map(job => this.create(...job)));
  }

  // -- working --------------------------------------------------------------------------------------------------

  /** Work a type by a script (behavior.js). Tells {"note": "ran", id, attempt} as each attempt begins. */
  async process(type, script, concurrency) {
    this.queue.process(type, concurrency || 1, (job, ctx, finish) => {
      this.note('ran', { id: job.id, attempt: (job._attempts || 0) + 1 });
      behavior.run(behavior.attemptOf(script, job), job)
        .then(args => finish(...args), err => finish(err));
    });
  }

  // -- changing a job -------------------------------------------------------------------------------------------

  async remove(id) {
    await done(cb => kue.Job.remove(id, cb));
  }

  async setState(id, state) {
    const job = await getJob(id);
    await done(cb => job.state(state, cb));
  }

  async setPriority(id, priority) {
    const job = await getJob(id);
    await done(cb => job.priority(priority).save(cb));
  }

  /** Save again, unchanged. */
  async save(id) {
    const job = await getJob(id);
    await done(cb => job.save(cb));
  }

  // -- reading --------------------------------------------------------------------------------------------------

  /** The JSON form that the API shows; an error when there is no such job. */
  async get(id) {
    return JSON.parse(JSON.stringify(await getJob(id)));
  }

  async log(id) {
    return done(cb => kue.Job.log(id, cb));
  }

  async range(from, to, order) {
    return done(cb => kue.Job.range(from, to, order || 'asc', cb));
  }

  async rangeByState(state, from, to, order) {
    return done(cb => kue.Job.rangeByState(state, from, to, order || 'asc', cb));
  }

  async rangeByType(type, state, from, to, order) {
    return done(cb => kue.Job.rangeByType(type, state, from, to, order || 'asc', cb));
  }

  async types() {
    return done(cb => this.queue.types(cb));
  }

  /** {inactive: n, …} of one type, or of all. */
  async counts(type) {
    const counts = {};
    for (const state of ['inactive', 'active', 'complete', 'failed', 'delayed']) {
      counts[state] = await done(cb => (type ? this.queue.cardByType(type, state, cb) : this.queue.card(state, cb)));
    }
    return counts;
  }

  async workTime() {
    return done(cb => this.queue.workTime(cb));
  }

  /** Ids found by reds, as the route /job/search answers them. */
  async search(text) {
    const reds = require('reds');
    reds.createClient = kue.redis.createClient;
    const search = reds.createSearch(kue.redis.client().getKey('search'));
    return done(cb => search.query(text).end(cb));
  }

  /** What reds makes of each text: [[stem, code, count], …] in the order in which it is written. */
  async indexTerms(texts) {
    const reds = require('reds');
    return texts.map(text => {
      const stems = reds.stem(reds.stripStopWords(reds.words(text)));
      const counts = reds.countWords(stems);
      const codes = reds.metaphoneMap(stems);
      return Object.keys(codes).map(stem => [stem, codes[stem], counts[stem]]);
    });
  }

  // -- listening ------------------------------------------------------------------------------------------------

  /** Tell every event that the queue hears: {"note": "heard", event, id, args}. */
  async listen() {
    for (const event of EVENTS) {
      this.queue.on('job ' + event, (id, ...args) => this.note('heard', { event, id, args }));
    }
  }

  /** Tell every raw message of a channel: {"note": "message", text}. */
  async tap(url, channel) {
    const client = redisModule.createClient(url);
    client.on('message', (from, text) => this.note('message', { text }));
    await done(cb => client.subscribe(channel, cb));
  }

  // -- the dashboard, and the end -------------------------------------------------------------------------------

  /** Serve Kue's dashboard and JSON API on 127.0.0.1; port 0 takes a free one. Answers the port. */
  async serve(port) {
    await new Promise((resolve, reject) => {
      this.server = require('http').createServer(kue.app).listen(port || 0, '127.0.0.1', resolve).on('error', reject);
    });
    return this.server.address().port;
  }

  /** Drop every connection, as a crash does, and load Kue afresh: the next open() finds what a new process would. */
  async restart() {
    if (this.server) this.server.close();
    clearInterval(this.queue.promoter);
    clearInterval(this.queue.activeJobsTtlTimer);
    this.queue = this.server = null;
    await Promise.all([...clients].map(client => new Promise(resolve => {
      client.end(false);
      if (client.stream.destroyed) return resolve();
      client.stream.once('close', resolve).destroy();
    })));
    clients.clear();
    for (const file of Object.keys(require.cache)) {
      if (file.startsWith(KUE_HOME) && !file.includes('node_modules', KUE_HOME.length)) delete require.cache[file];
    }
    kue = require('kue');
  }

  async shutdown(timeoutMs) {
    if (this.server) this.server.close();
    await done(cb => this.queue.shutdown(timeoutMs, cb));
  }
}

module.exports = { Commands };
