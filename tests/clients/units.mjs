// Unit tests of the built TypeScript client; test_typescript.py runs them with `node --test`.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import * as kinds from "../../clients/typescript/dist/encer.js";
import { FakeServer, message, page, pass, settle, tokenOf, tokens, until } from "./fakes.mjs";

const { BrowserOutbox, BrowserTokens, Encer, MemoryTokens } = kinds;
const BASE = "http://api.test";
let server;
let clients;

beforeEach(() => {
  server = new FakeServer();
  clients = [];
});
afterEach(() => clients.forEach((encer) => encer.close()));

function client(options = {}) {
  const encer = new Encer(BASE, { tokens: new MemoryTokens(tokens()), WebSocket: server.WebSocket, pace: [1e6, 1e6], ...options });
  clients.push(encer);
  return encer;
}

/** Return a joined conversation and the log of its events. */
async function joined(options, after = 0) {
  const chat = client(options).conversation("c", { after });
  const log = [];
  for (const name of ["message", "edited", "deleted", "typing", "gap", "error"])
    chat.on(name, (data) => log.push(name === "typing" ? [name, data.typing] : [name, data.seq ?? data.code, data.rev]));
  await until(() => chat.encer.state === "live");
  await settle();
  assert.equal(chat.encer.state, "live");
  return { chat, encer: chat.encer, log };
}

// -- reconnects -----------------------------------------------------------------------------------------------------------

for (const [code, pause] of [[1006, 250], [1011, 250], [1013, 250], [4429, 2_500], [4508, 2_500]])
  test(`close code ${code} reconnects after ${pause} ms`, async () => {
    const { encer } = await joined();
    server.socket.end(code);
    await pass(pause - 1);
    assert.deepEqual([encer.state, server.sockets.length], ["offline", 1]);
    await pass(1);
    assert.deepEqual([encer.state, server.sockets.length], ["live", 2]);
  });

test("close code 1001 reconnects after the time that the server requests", async () => {
  const { encer } = await joined();
  server.socket.emit("going_away", { reconnectAfterMs: 2_000 });
  server.socket.end(1001);
  await pass(1_999);
  assert.deepEqual([encer.state, server.sockets.length], ["offline", 1]);
  await pass(1);
  assert.deepEqual([encer.state, server.sockets.length], ["live", 2]);
});

test("close code 4401 reconnects at once with a new token", async () => {
  const { encer } = await joined();
  server.socket.end(4401);
  await pass(1);
  await until(() => encer.state === "live");
  assert.deepEqual([encer.state, server.refreshes], ["live", 1]);
  assert.deepEqual(server.sockets.map(({ bearer }) => bearer), [tokenOf(0), tokenOf(1)]);
});

for (const [code, kind] of [[4403, "SessionEnded"], [4400, "WrongServer"]])
  test(`close code ${code} ends the client with ${kind}`, async () => {
    const { chat, encer } = await joined();
    server.socket.end(code);
    await pass(120_000, 10_000);
    assert.deepEqual([encer.state, server.sockets.length], ["ended", 1]);
    assert.ok(encer.error instanceof kinds[kind] && encer.error.message.endsWith("."));
    await assert.rejects(chat.send("too late"), kinds[kind]);
  });

for (const [code, kind, sockets] of [[1006, "Unreachable", 10], [4401, "NotSignedIn", 3], [4429, "TooMany", 20], [4508, "TooMany", 20]])
  test(`a server that always closes with ${code} is not retried forever`, async () => {
    server.accept = (socket) => socket.refuse(code);
    const encer = client();
    encer.connect();
    for (let turn = 0; turn < 100 && encer.state !== "ended"; turn++) {
      const opened = server.sockets.length;
      await pass(30_000, 10_000); // longer than each pause
      await until(() => encer.state === "offline" || encer.state === "ended");
      assert.ok(server.sockets.length > opened);
    }
    assert.deepEqual([encer.state, server.sockets.length], ["ended", sockets]);
    assert.ok(encer.error instanceof kinds[kind] && encer.error.message.endsWith("."));
  });

test("a server that stops answering is left, and the client reconnects", async () => {
  const { encer } = await joined();
  server.answers.ping = () => undefined;
  await pass(25_000 + 5_000 + 250);
  assert.deepEqual([encer.state, server.sockets.length, server.sockets[0].closed], ["live", 2, true]);
});

test("the token is renewed over the same socket before it expires", async () => {
  const { encer } = await joined({ tokens: new MemoryTokens(tokens(true)) });
  assert.equal(server.refreshes, 1); // the stored one had expired
  await pass(880_000, 10_000); // 30 s before it expires
  await until(() => server.commands("authenticate").length > 0);
  assert.deepEqual(server.commands("authenticate").map(({ token }) => token), [tokenOf(2)]);
  assert.deepEqual([encer.state, server.sockets.length], ["live", 1]);
});

test("a renewal that fails for a moment is repeated", async () => {
  const { encer } = await joined({ tokens: new MemoryTokens(tokens(true)) });
  const answer = server.answers.authenticate;
  server.answers.authenticate = () => ({ error: "Not ready", code: "NOT_READY" });
  await pass(880_000, 10_000);
  await until(() => server.commands("authenticate").length > 0);
  server.answers.authenticate = answer;
  await pass(60_000, 1_000);
  assert.ok(server.commands("authenticate").length > 1);
  assert.equal(encer.state, "live");
});

test("all tabs share one refresh", async () => {
  const storage = new Map();
  globalThis.localStorage = {
    getItem: (key) => storage.get(key) ?? null, setItem: (key, value) => storage.set(key, value), removeItem: (key) => storage.delete(key),
  };
  new BrowserTokens().save(tokens(true));
  const tabs = [1, 2, 3].map(() => client({ tokens: new BrowserTokens() }));
  const calls = tabs.flatMap((encer) => [encer.call("GET", "/profile/me"), encer.call("GET", "/profile/me")]);
  await Promise.all([...calls, pass(1_000)]);
  assert.equal(server.refreshes, 1);
  assert.equal(new BrowserTokens().load().accessToken, tokenOf(1));
});

test("in a browser, a server that hides its answers from this origin ends the client with OriginRefused", async () => {
  globalThis.document = new EventTarget();
  let requests = 0;
  server.fetch = async (_, { mode }) => {
    requests++;
    if (mode === "no-cors") return new Response("");
    throw new TypeError("Failed to fetch");
  };
  const encer = client();
  encer.connect();
  await pass(120_000, 10_000);
  delete globalThis.document;
  assert.deepEqual([encer.state, encer.error.code, requests], ["ended", "ORIGIN_REFUSED", 2]);
});

// -- the outbox -----------------------------------------------------------------------------------------------------------

class StoredOutbox {
  items = [];
  load = () => [...this.items];
  save = (items) => void (this.items = structuredClone(items));
}

test("messages wait while offline, and are sent once and in order", async () => {
  const { chat, encer } = await joined();
  server.socket.end(1006);
  await settle();
  const sending = [1, 2, 3].map((number) => chat.send(`line ${number}`));
  await settle();
  assert.deepEqual([encer.state, server.commands("send_message")], ["offline", []]);
  await pass(250);
  assert.deepEqual((await Promise.all(sending)).map(({ content }) => content), ["line 1", "line 2", "line 3"]);
  assert.equal(server.commands("send_message").length, 3);
});

test("a message without an answer is sent again with the same id", async () => {
  const { chat } = await joined();
  const answer = server.answers.send_message;
  server.answers.send_message = () => undefined;
  const sending = chat.send("Hello");
  await settle();
  server.answers.send_message = answer;
  server.socket.end(1006);
  await pass(250);
  assert.equal((await sending).content, "Hello");
  const [first, second] = server.commands("send_message");
  assert.deepEqual(first, second);
});

test("the outbox is bounded, and its items can be withdrawn and survive the program", async () => {
  server.accept = (socket) => socket.refuse(1006);
  const outbox = new StoredOutbox();
  const encer = client({ outbox });
  const chat = encer.conversation("c", { after: 0 });
  const stop = new AbortController();
  const sending = Array.from({ length: 200 }, (_, number) => chat.send(`line ${number}`, number === 1 ? { signal: stop.signal } : {}));
  sending.forEach((one) => one.catch(() => undefined));
  await assert.rejects(chat.send("one too many"), kinds.OutboxFull);
  stop.abort();
  await assert.rejects(sending[1], kinds.Aborted);
  encer.close();
  await assert.rejects(sending[0], kinds.Closed);
  assert.deepEqual([outbox.items.length, outbox.items[1].content], [199, "line 2"]);
  server.accept = (socket) => socket.ready();
  const sent = [];
  const next = client({ outbox });
  next.on("sent", ({ content }) => sent.push(content));
  next.connect();
  await pass(1_000);
  assert.deepEqual([sent.length, sent[0], sent[1], outbox.items], [199, "line 0", "line 2", []]);
});

test("a sign-out deletes the unsent messages", async () => {
  server.accept = (socket) => socket.refuse(1006);
  const outbox = new StoredOutbox();
  const encer = client({ outbox });
  const sending = assert.rejects(encer.conversation("c", { after: 0 }).send("for one user"), kinds.Closed);
  await settle();
  assert.equal(outbox.items.length, 1);
  await Promise.all([encer.signOut().catch(() => undefined), pass(60_000, 1_000)]);
  await sending;
  assert.deepEqual(outbox.items, []);
});

test("a store that fails does not stop messages", async (t) => {
  const logged = t.mock.method(console, "error", () => undefined);
  const fail = () => { throw new Error("quota"); };
  const { chat } = await joined({ outbox: { load: fail, save: fail } });
  assert.equal((await chat.send("Hello")).content, "Hello");
  const other = await joined({ outbox: { load: async () => [], save: async () => fail() } });
  assert.equal((await other.chat.send("Hello")).content, "Hello");
  assert.deepEqual([server.commands("send_message").length, logged.mock.callCount()], [2, 5]);
});

test("a message that is not confirmed in time fails, and so does a refused one", async () => {
  const { chat, encer } = await joined({ sendWait: 2_000 });
  const failed = [];
  encer.on("failed", ({ error }) => failed.push(error.code));
  server.answers.send_message = () => undefined;
  const late = assert.rejects(chat.send("late"), kinds.SendTimeout);
  await pass(2_000);
  await late;
  server.answers.send_message = () => ({ error: "Not a participant", code: "NOT_FOUND" });
  server.socket.end(1006);
  const refused = assert.rejects(chat.send("refused"), kinds.NotFound);
  await pass(1_000);
  await refused;
  assert.deepEqual(failed, ["SEND_TIMEOUT", "NOT_FOUND"]);
});

test("a message over the limit is refused before it is queued", async () => {
  const { chat } = await joined();
  await assert.rejects(chat.send("x".repeat(5_001)), (error) => error instanceof kinds.TooLarge && /Send a shorter one/.test(error.message));
  await chat.send("😀".repeat(5_000)); // characters count, not UTF-16 units
  assert.equal(server.commands("send_message").length, 1);
});

test("the browser's outbox stores what waits", () => {
  const storage = new Map();
  const outbox = new BrowserOutbox("key", { getItem: (key) => storage.get(key) ?? null, setItem: (key, value) => storage.set(key, value) });
  assert.deepEqual(outbox.load(), []);
  outbox.save([{ content: "Hello" }]);
  assert.deepEqual(outbox.load(), [{ content: "Hello" }]);
});

// -- conversations --------------------------------------------------------------------------------------------------------

test("each change is emitted once, in the order of rev", async () => {
  const { chat, log } = await joined();
  const emit = (name, data) => server.socket.emit(name, data);
  emit("message_sent", message(1));
  emit("message_sent", message(1));
  emit("message_edited", message(1, { rev: 2 }));
  emit("message_sent", message(1));
  emit("message_edited", message(1, { rev: 2 }));
  emit("message_deleted", { messageId: "m1", conversationId: "c", seq: 1, rev: 3 });
  emit("message_edited", message(1, { rev: 2 }));
  assert.deepEqual(log, [["message", 1, 1], ["edited", 1, 2], ["deleted", 1, 3]]);
  server.socket.end(1006);
  await pass(250);
  assert.deepEqual([chat.rev, server.commands("join_conversation").at(-1)], [3, { conversationId: "c", after: 3 }]);
});

test("a replay that is not complete leads to a fetch by REST and another join, without a gap", async () => {
  const { chat, log } = await joined();
  const complete = server.answers.join_conversation;
  server.socket.emit("message_sent", message(1));
  server.answers.join_conversation = () => {
    server.answers.join_conversation = complete;
    setImmediate(() => server.socket.emit("message_sent", message(6))); // ignored: the fetch or the next join brings it
    return { lastRev: 5, replayed: 0, complete: false };
  };
  server.lastRev = 6;
  server.pages = [page([message(1, { rev: 5 }), message(2)], true), page([message(3, { isDeleted: true, rev: 4 }), message(6)])];
  server.socket.end(1006);
  await pass(250);
  assert.deepEqual(log, [["message", 1, 1], ["edited", 1, 5], ["message", 2, 2], ["deleted", 3, 4], ["message", 6, 6]]);
  assert.deepEqual(server.commands("join_conversation").map(({ after }) => after), [0, 1, 5]);
  assert.equal(server.commands("leave_conversation").length, 1);
  assert.deepEqual(server.calls.filter(([, path]) => path.endsWith("/messages")).map(([, , query]) => query.after), ["0", "2"]);
  server.socket.emit("message_sent", message(6)); // in the replay of the second join, or late
  assert.deepEqual([chat.rev, log.length], [6, 5]);
});

test("a fetch includes messages that an earlier run of the program received", async () => {
  const { log } = await joined({}, 5);
  const complete = server.answers.join_conversation;
  server.socket.emit("message_sent", message(6));
  server.answers.join_conversation = () => {
    server.answers.join_conversation = complete;
    return { lastRev: 7, replayed: 0, complete: false };
  };
  server.lastRev = 7;
  server.pages = [page([message(1, { rev: 7 }), message(2), message(6)])];
  server.socket.end(1006);
  await pass(250);
  assert.equal(server.calls.find(([, path]) => path.endsWith("/messages"))[2].after, "0");
  assert.deepEqual(log, [["message", 6, 6], ["edited", 1, 7]]);
});

test("a conversation that changes faster than it can be fetched is not fetched forever", async () => {
  server.answers.join_conversation = () => ({ lastRev: ++server.lastRev, replayed: 0, complete: false });
  const encer = client();
  encer.conversation("c", { after: 0 });
  await settle();
  assert.deepEqual([encer.state, encer.error.code, server.commands("join_conversation").length], ["offline", "NOT_READY", 5]);
});

test("resync joins again from the last rev, once for several", async () => {
  const { log } = await joined();
  server.socket.emit("message_sent", message(1));
  const leave = server.answers.leave_conversation;
  server.answers.leave_conversation = () => undefined;
  server.socket.emit("resync", { conversationId: "c", reason: "behind" });
  server.socket.emit("resync", { conversationId: "c", reason: "behind" });
  await settle();
  server.socket.emit("message_sent", message(2)); // ignored: the new join replays it
  const { id } = server.socket.frames.findLast(({ event }) => event === "leave_conversation");
  server.answers.leave_conversation = leave;
  server.answers.join_conversation = () => {
    for (const seq of [2, 3]) server.socket.emit("message_sent", message(seq));
    return { lastRev: 3, replayed: 2, complete: true };
  };
  server.socket.emit("ack", {}, id);
  await settle();
  assert.deepEqual(server.commands("join_conversation").map(({ after }) => after), [0, 1]);
  assert.deepEqual(log, [1, 2, 3].map((seq) => ["message", seq, seq]));
});

test("a conversation that cannot be joined ends alone", async () => {
  server.answers.join_conversation = () => ({ error: "There is no such conversation", code: "NOT_FOUND" });
  const { encer, log } = await joined();
  assert.deepEqual([log, encer.state, encer.conversations.size], [[["error", "NOT_FOUND", undefined]], "live", 0]);
});

test("typing is repeated while keys are pressed, and ends after a pause", async () => {
  const { chat } = await joined();
  for (let key = 0; key < 7; key++) {
    chat.typing();
    await pass(1_000);
  }
  assert.deepEqual([server.commands("typing_start").length, server.commands("typing_stop").length], [3, 0]);
  await pass(4_000);
  assert.equal(server.commands("typing_stop").length, 1);
  chat.typing();
  await chat.send("a message ends typing too");
  await pass(10_000);
  assert.equal(server.commands("typing_stop").length, 1);
});

test("typing of others ends with their message, at a cut, or without a repetition", async () => {
  const { log } = await joined();
  const type = () => server.socket.emit("user_typing", { conversationId: "c", userId: "other" });
  type();
  await pass(5_000);
  type();
  await pass(6_999);
  assert.deepEqual(log, [["typing", true]]);
  await pass(1);
  type();
  server.socket.emit("message_sent", message(1));
  type();
  server.socket.end(1006);
  await settle();
  const typing = log.filter(([name]) => name === "typing").map(([, value]) => value);
  assert.deepEqual(typing, [true, false, true, false, true, false]);
});

// -- REST -----------------------------------------------------------------------------------------------------------------

test("an upload reports its progress", async () => {
  const { chat } = await joined();
  const progress = [];
  const attachment = await chat.upload(new Blob([new Uint8Array(150_000)]), { name: "tea.png", onProgress: (sent) => progress.push(sent) });
  assert.deepEqual([attachment.messageType, progress], ["IMAGE", [65_536, 131_072, 150_000]]);
});

test("calls, uploads and waits can be aborted", async () => {
  const { chat, encer } = await joined();
  const stop = new AbortController();
  const upload = chat.upload(new Blob([new Uint8Array(150_000)]), { onProgress: () => stop.abort(), signal: stop.signal });
  await assert.rejects(upload, kinds.Aborted);
  const answer = server.answer;
  server.answer = () => new Promise(() => undefined); // no answer, so that only the signal ends the call
  const later = new AbortController();
  server.fetch = (_, { signal }) => new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  const call = assert.rejects(encer.call("GET", "/profile/me", { signal: later.signal }), kinds.Aborted);
  await settle();
  later.abort();
  await call;
  server.answer = answer;
});

test("a call that may be repeated is tried four times, others once", async () => {
  const encer = client();
  server.answer = async () => [503, { error: "Not ready", code: "NOT_READY" }];
  for (const [method, tries] of [["GET", 4], ["POST", 1]]) {
    server.calls = [];
    const call = assert.rejects(encer.call(method, "/profile/me"), kinds.Unavailable);
    await pass(30_000);
    await call;
    assert.equal(server.calls.length, tries);
  }
});
