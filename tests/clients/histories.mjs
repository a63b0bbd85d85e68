// Random histories of a conversation with cuts and refusals: the TypeScript client's view equals the server's messages.
// test_random_histories.py runs this with seeds as arguments, and the same with the Python client.
import assert from "node:assert/strict";
import { Encer, MemoryTokens } from "../../clients/typescript/dist/encer.js";
import { FakeServer, message, page, pass, settle, tokens } from "./fakes.mjs";

const REPLAYED = 5; // changes that a join replays; more are fetched
const PAGE = 4;
const STEPS = 120;

/** Return a generator of numbers in [0, 1) that are the same for a seed (xorshift, Marsaglia 2003). */
function randomOf(seed) {
  let state = (seed + 1) * 7919;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

/** A server with one conversation, which changes while clients join and fetch. */
class Model extends FakeServer {
  messages = new Map(); // by seq
  keys = new Map();
  rev = 0;
  joined = new Set();

  constructor(seed) {
    super();
    this.random = randomOf(seed);
    for (const name of ["join_conversation", "leave_conversation", "send_message", "mark_read", "ping"]) {
      const usual = this.answers[name];
      this.answers[name] = (data) => this.reply(this.sender, name, data, usual);
    }
    this.accept = (socket) => {
      const { send } = socket;
      socket.send = (text) => {
        this.sender = socket;
        send.call(socket, text);
      };
      socket.ready();
    };
  }

  choose = (from) => from[Math.floor(this.random() * from.length)];
  happens = (chance) => this.random() < chance;

  change() {
    const living = [...this.messages.values()].filter(({ isDeleted }) => !isDeleted);
    const act = living.length ? this.choose(["add", "add", "edit", "delete"]) : "add";
    if (act === "add") return this.add(`line ${this.rev + 1}`);
    const one = this.choose(living);
    Object.assign(one, { rev: ++this.rev, isDeleted: act === "delete", content: act === "edit" ? `${one.content}, edited` : "" });
    this.publish(act === "edit" ? "message_edited" : "message_deleted", one);
  }

  add(content) {
    const one = message(++this.rev, { content });
    this.messages.set(one.seq, one);
    this.publish("message_sent", one);
    return one;
  }

  publish(name, one) {
    for (const socket of this.joined) socket.emit(name, { ...one, messageId: one.id });
  }

  reply(socket, name, data, usual) {
    if (this.happens(0.1)) this.change(); // meanwhile
    if (this.happens(0.05)) return this.cut(socket);
    if (this.happens(0.05) && ["send_message", "mark_read"].includes(name)) return { error: "Not ready", code: "NOT_READY", retryAfter: 1 };
    if (name === "leave_conversation") this.joined.delete(socket);
    if (name === "join_conversation") return this.join(socket, data.after);
    if (name !== "send_message") return usual(data);
    const one = this.keys.get(data.clientMessageId) ?? this.add(data.content);
    this.keys.set(data.clientMessageId, one);
    return this.happens(0.2) ? this.cut(socket) : { message: { ...one } }; // stored, but the answer is lost
  }

  join(socket, after) {
    const missed = [...this.messages.values()].filter(({ rev }) => rev > after).sort((one, other) => one.rev - other.rev);
    this.joined.add(socket);
    if (missed.length > REPLAYED) return { lastRev: this.rev, replayed: 0, complete: false };
    for (const one of missed)
      socket.emit(one.seq > after ? "message_sent" : one.isDeleted ? "message_deleted" : "message_edited", { ...one, messageId: one.id });
    return { lastRev: this.rev, replayed: missed.length, complete: true };
  }

  cut(socket) {
    this.joined.delete(socket);
    const code = this.choose([1006, 1006, 1001, 1013]);
    setImmediate(() => socket.end(code));
  }

  async answer(method, path, ...more) {
    if (!path.endsWith("/messages")) return super.answer(method, path, ...more);
    if (this.happens(0.2)) this.change();
    await new Promise((resolve) => setTimeout(resolve, this.random() * 1000));
    if (this.happens(0.05)) return [503, null];
    const after = Number(this.calls.findLast(([, called]) => called === path)[2].after ?? 0);
    const found = [...this.messages.values()].filter(({ seq }) => seq > after).sort((one, other) => one.seq - other.seq);
    return [200, structuredClone(page(found.slice(0, PAGE), found.length > PAGE))];
  }
}

async function chat(seed) {
  const server = new Model(seed);
  const view = new Map();
  const seen = new Set();
  const newest = new Map();
  const faults = [];
  const encer = new Encer("http://api.test", { tokens: new MemoryTokens(tokens()), WebSocket: server.WebSocket, pace: [1e6, 1e6] });
  const here = encer.conversation("c", { after: 0 });
  const note = (name, { seq, rev }, content) => {
    if (name === "message" && view.has(seq)) faults.push(`${seq} is new twice`);
    if (seen.has(`${seq} ${rev}`)) faults.push(`${seq} ${rev} is repeated`);
    if (rev < (newest.get(seq) ?? 0)) faults.push(`${seq} ${rev} is older than what was seen`);
    seen.add(`${seq} ${rev}`);
    newest.set(seq, rev);
    view.set(seq, content);
  };
  for (const name of ["message", "edited"]) here.on(name, (data) => note(name, data, data.content));
  here.on("deleted", (data) => note("deleted", data, ""));
  const sending = [];
  for (let step = 0; step < STEPS; step++) {
    const act = server.choose(["change", "change", "change", "send", "cut", "resync", "read", "wait", "wait"]);
    if (act === "change") server.change();
    else if (act === "send") sending.push(here.send(`sent ${step}`));
    else if (act === "cut" && server.socket) server.cut(server.socket);
    else if (act === "resync" && server.joined.has(server.socket)) server.socket.emit("resync", { conversationId: "c", reason: "behind" });
    else if (act === "read") here.read();
    else await pass(server.choose([10, 300, 3_000]));
    if (server.happens(0.5)) await settle();
  }
  for (let turn = 0; turn < 600 && (here.rev < server.rev || encer.state !== "live" || server.keys.size < sending.length); turn++)
    await pass(1_000, 1_000);
  let stored;
  void Promise.all(sending).then((all) => (stored = all));
  for (let turn = 0; turn < 60 && !stored; turn++) await pass(1_000);
  assert.ok(stored, `${sending.length} sent, ${server.keys.size} stored`);
  const seqs = stored.map(({ seq }) => seq);
  assert.deepEqual(seqs, [...new Set(seqs)].sort((one, other) => one - other));
  for (let turn = 0; turn < 600 && (here.rev < server.rev || encer.state !== "live"); turn++) await pass(1_000, 1_000);
  assert.deepEqual(faults, []);
  assert.deepEqual([...view].sort(([one], [other]) => one - other), [...server.messages].map(([seq, { content }]) => [seq, content]));
  encer.close();
  await settle();
}

for (const seed of process.argv.slice(2)) {
  await chat(Number(seed)).catch((error) => {
    console.log(`seed ${seed}: ${error.message}`);
    process.exitCode = 1;
  });
}
process.exit();
