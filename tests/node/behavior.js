'use strict';
// What a scripted handler does. A script is a list of attempts, an attempt a list of actions; attempts beyond the end
// repeat the last one. tests/interop/harness/behavior.py reads the same scripts for Python handlers.
//
//   ["log", "sent %d to %s", 7, "x"]      ["progress", 1, 2]      ["progress", 1, 2, {"step": "half"}]
//   ["sleep", ms]                         ["hang"]                for ever: the job stays active
//   ["return", value]                     done(null, value)
//   ["fail", "text"]                      done(new Error("text"))
//   ["fail text", "text"]                 done("text"): a plain string instead of an Error

const sleep = ms => new Promise(resolve => setTimeout(resolve, ms));

/** The actions for this attempt of the job; a script of null stands in the job's own data, under `plan`. */
function attemptOf(script, job) {
  const attempts = script || job.data.plan;
  return attempts[Math.min(job._attempts || 0, attempts.length - 1)] || [];
}

/** Do the actions on the job and give the arguments for done(). */
async function run(actions, job) {
  for (const [verb, ...args] of actions) {
    switch (verb) {
      case 'log': job.log(...args); break;
      case 'progress': job.progress(...args); break;
      case 'sleep': await sleep(args[0]); break;
      case 'hang': await new Promise(() => {}); break;
      case 'return': return [null, args[0]];
      case 'fail': return [new Error(args[0])];
      case 'fail text': return [args[0]];
      default: throw new Error('no such action: ' + verb);
    }
  }
  return [];
}

module.exports = { attemptOf, run };
