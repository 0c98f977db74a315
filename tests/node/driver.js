'use strict';
// Lets another program drive Node Kue: one JSON request a line on stdin, JSON lines on stdout.
//
//   in   {"call": 7, "cmd": "create", "args": ["email", {"to": "a"}, {"attempts": 3}]}
//   out  {"call": 7, "result": 12}   or   {"call": 7, "error": "what went wrong"}
//   out  {"note": "heard", …}        whenever something happens that nobody asked for (see commands.js)
//
// Each request is answered when its work in Redis is over; requests may overlap. The process ends with its stdin.

const readline = require('readline');
const { Commands } = require('./commands');

function say(line) {
  process.stdout.write(JSON.stringify(line) + '\n');
}

const commands = new Commands((note, fields) => say(Object.assign({ note }, fields)));

async function answer(line) {
  const { call, cmd, args } = JSON.parse(line);
  try {
    if (!Commands.prototype.hasOwnProperty(cmd)) throw new Error('no such command: ' + cmd);
    const result = await commands[cmd](...(args || []));
    say({ call, result: result === undefined ? null : result });
  } catch (err) {
    say({ call, error: String((err && err.message) || err) });
  }
}

readline.createInterface({ input: process.stdin })
  .on('line', answer)
  .on('close', () => process.exit(0));
