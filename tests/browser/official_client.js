// Two official Socket.IO clients: one starts jobs, both write down what they hear. Prints one line of JSON.
const { io } = require(`${process.argv[2]}/socket.io-client`);
const [, , , url, count, transport] = process.argv;
const heard = [[], []];
const answers = [];
const errors = [];
const clients = [0, 1].map((number) => {
  const socket = io(url, { transports: [transport], forceNew: true });
  for (const name of ["start", "complete"]) socket.on(name, (data) => { heard[number].push([name, data]); check(); });
  socket.on("error", (data) => errors.push([number, data]));
  return socket;
});
const wanted = Number(count);
let asked = false;
function check() {
  const done = heard.every((each) => each.filter(([name]) => name === "complete").length >= wanted);
  if (!done || answers.length < wanted) return;
  clients[0].emit("start", { type: "download", url: "ftp://x/y" });
  clients[0].emit("start", { type: "download", url: "http://x/" + "y".repeat(1000000) }, (answer) => {
    console.log(JSON.stringify({ heard, answers, errors, long: answer, connected: clients.map((each) => each.connected) }));
    process.exit(0);
  });
}
function begin() {
  if (asked || !clients.every((each) => each.connected)) return;
  asked = true;
  for (let i = 0; i < wanted; i += 1) {
    clients[i % 2].emit("start", { type: "download", url: `${url}/static/icon.svg` }, (answer) => { answers.push(answer); check(); });
  }
}
for (const socket of clients) socket.on("connect", begin);
setTimeout(() => { console.log(JSON.stringify({ heard, answers, errors, late: true })); process.exit(2); }, 30000);
