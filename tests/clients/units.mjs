// Tests of what only the TypeScript client has; test_typescript.py runs them with `node --test`. cases.json has the rest.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import * as kinds from "../../clients/typescript/dist/encer.js";
import { FakeServer, pass, settle, tokenOf, tokens, until } from "./fakes.mjs";

const { BrowserOutbox, BrowserTokens, Encer, MemoryTokens } = kinds;
const BASE = "http://api.test";
let server;
let clients;

beforeEach(() => {
  server = new FakeServer();
  clients = [];
});
afterEach(async () => {
  for (const encer of clients) {
    encer.close();
    await encer.rest.session.userId().catch(() => undefined); // a timer that is cleared later breaks those of the next test
  }
  await settle();
});

function client(options = {}) {
  const encer = new Encer(BASE, { tokens: new MemoryTokens(tokens()), WebSocket: server.WebSocket, pace: [1e6, 1e6], ...options });
  clients.push(encer);
  return encer;
}

class FakeStorage extends Map {
  get length() {
    return this.size;
  }
  key = (index) => [...this.keys()][index];
  getItem = (key) => this.get(key) ?? null;
  setItem = (key, value) => void this.set(key, value);
  removeItem = (key) => void this.delete(key);
}

/** Return a joined conversation. */
async function joined(options) {
  const chat = client(options).conversation("c", { after: 0 });
  await until(() => chat.encer.state === "live");
  await settle();
  assert.equal(chat.encer.state, "live");
  return { chat, encer: chat.encer };
}

// -- reconnects -----------------------------------------------------------------------------------------------------------

test("a network that closes each socket is not retried forever", async () => {
  server.accept = (socket) => socket.refuse(1006);
  const encer = client();
  encer.connect();
  for (let turn = 0; turn < 100 && encer.state !== "ended"; turn++) {
    await pass(30_000, 10_000); // longer than each pause
    await until(() => encer.state === "offline" || encer.state === "ended");
  }
  assert.deepEqual([encer.state, server.sockets.length], ["ended", 10]);
  assert.ok(encer.error instanceof kinds.Unreachable && encer.error.message.endsWith("."));
});

test("all tabs share one refresh", async () => {
  globalThis.localStorage = new FakeStorage();
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

test("tabs that share the browser's outbox keep each other's messages, and send each once", async () => {
  const storage = new FakeStorage();
  const outbox = () => new BrowserOutbox("key", storage);
  storage.setItem("key of another program", "not JSON");
  server.accept = (socket) => socket.refuse(1006);
  const [one, other] = [1, 2].map(() => client({ outbox: outbox() }).conversation("c", { after: 0 }));
  const sending = [one.send("first"), other.send("second"), one.send("third"), other.send("withdrawn")];
  const last = new AbortController();
  sending.push(one.send("aborted", { signal: last.signal }));
  sending.forEach((send) => send.catch(() => undefined));
  await settle();
  last.abort();
  assert.deepEqual(outbox().load().map(({ userId, content }) => [userId, content]).sort(),
    ["first", "second", "third", "withdrawn"].map((content) => ["me", content]));
  one.encer.close();
  assert.equal(outbox().load().length, 4);
  server.accept = (socket) => socket.ready();
  const sent = [];
  const third = client({ outbox: outbox() });
  third.on("sent", ({ content }) => sent.push(content));
  third.connect();
  await pass(1_000);
  assert.deepEqual([...sent].sort(), ["first", "second", "third", "withdrawn"]);
  assert.deepEqual(outbox().load(), []);
  assert.equal(storage.length, 1);
});

class StoredOutbox {
  items = [];
  load = () => [...this.items];
  add = (unsent) => void this.items.push(unsent);
  remove = (unsent) => void (this.items = this.items.filter((one) => one.clientMessageId !== unsent.clientMessageId));
}

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

test("a store that fails does not stop messages", async (t) => {
  const logged = t.mock.method(console, "error", () => undefined);
  const fail = () => { throw new Error("quota"); };
  const { chat } = await joined({ outbox: { load: fail, add: fail, remove: fail } });
  assert.equal((await chat.send("Hello")).content, "Hello");
  const other = await joined({ outbox: { load: async () => [], add: async () => fail(), remove: async () => fail() } });
  assert.equal((await other.chat.send("Hello")).content, "Hello");
  assert.deepEqual([server.commands("send_message").length, logged.mock.callCount()], [2, 6]);
});

test("a listener that fails, also later, ends nothing", async (t) => {
  const logged = t.mock.method(console, "error", () => undefined);
  const { chat, encer } = await joined();
  chat.on("typing", () => { throw new Error("at once"); });
  chat.on("typing", async () => { throw new Error("later"); });
  server.socket.emit("user_typing", { conversationId: "c", userId: "other" });
  await settle();
  assert.deepEqual([encer.state, logged.mock.callCount()], ["live", 2]);
});

test("unreadable tokens are those of nobody", async () => {
  const storage = new FakeStorage([["encer.tokens", "{"]]);
  await assert.rejects(client({ tokens: new BrowserTokens("encer.tokens", storage) }).live(), kinds.NotSignedIn);
});

test("an unreadable entry of the browser's outbox does not block the others", (t) => {
  const logged = t.mock.method(console, "error", () => undefined);
  const storage = new FakeStorage();
  const outbox = new BrowserOutbox("key", storage);
  const unsent = { userId: "me", conversationId: "c", clientMessageId: "k", content: "Hello", messageType: "TEXT", queuedAt: 1 };
  outbox.add(unsent);
  ["{", "null", "[]", JSON.stringify({ userId: "me" })].forEach((text, number) => storage.setItem(`key["${number}"]`, text));
  assert.deepEqual([outbox.load(), logged.mock.callCount()], [[unsent], 4]);
});

test("a client that a listener of live closes loads no messages", async () => {
  const outbox = new StoredOutbox();
  const loads = [];
  outbox.load = () => loads.push(1) && [];
  const encer = client({ outbox });
  encer.on("state", (state) => state === "live" && encer.close());
  encer.connect();
  await until(() => encer.state === "ended");
  await settle();
  assert.deepEqual(loads, []);
});

/** A store that takes a moment to read and to write. */
class SlowTokens {
  held = tokens(true);
  load = async () => {
    const { held } = this;
    await settle();
    return held;
  };
  save = async (pair) => {
    await settle();
    this.held = pair;
  };
}

test("a read of the token store that overlaps a sign-in does not mix the messages of two users", async () => {
  server.accept = (socket) => socket.refuse(1006);
  const store = new SlowTokens();
  const outbox = new StoredOutbox();
  const encer = client({ tokens: store, outbox });
  const former = encer.conversation("c", { after: 0 });
  const early = [];
  for (const name of ["load", "save"]) {
    const work = store[name];
    store[name] = (pair) => {
      early.push(former.send(`during ${name}`).catch((error) => error));
      store[name] = work;
      return work(pair);
    };
  }
  server.user = "other";
  await encer.signIn("other", "password");
  for (const error of await Promise.all(early)) assert.ok(error instanceof kinds.Closed);
  encer.conversation("c", { after: 0 }).send("of the other").catch(() => undefined);
  await until(() => outbox.items.some(({ content }) => content === "of the other"));
  assert.deepEqual(outbox.items.filter(({ content }) => content === "of the other").map(({ userId }) => userId), ["other"]);
  assert.ok(outbox.items.every(({ userId, content }) => userId === "me" || content === "of the other"));
});

test("a refresh that ends during a sign-in does not replace its tokens", async () => {
  const store = new SlowTokens();
  const encer = client({ tokens: store });
  let release;
  server.refreshHeld = new Promise((resolve) => (release = resolve));
  const call = encer.call("GET", "/profile/me").catch(() => undefined);
  await until(() => server.refreshes === 1);
  server.user = "other";
  const { answer } = server;
  server.answer = async (method, path, ...more) => {
    if (path.endsWith("/login")) release();
    return answer.call(server, method, path, ...more);
  };
  await encer.signIn("other", "password");
  await call;
  await settle();
  assert.equal(store.held.refreshToken, "refresh");
});

test("a token store that does not answer is a typed error, and the client tries again", async () => {
  let release;
  const silence = new Promise((resolve) => (release = resolve));
  const encer = client({ tokens: { load: () => silence, save: () => undefined } });
  encer.connect();
  const call = assert.rejects(encer.call("POST", "/profile/me", { timeout: 60_000 }), kinds.Unavailable);
  await pass(60_000, 10_000);
  await call;
  assert.ok(["connecting", "offline"].includes(encer.state));
  assert.equal(encer.error.code, "NOT_READY");
  encer.close();
  release(null);
  await assert.rejects(encer.rest.session.token(), kinds.NotSignedIn); // the lock of the tabs is free again
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
  const before = { signal: AbortSignal.abort() };
  for (const call of [chat.edit("m1", "text", before), chat.delete("m1", before), chat.history(9, 50, before)])
    await assert.rejects(call, kinds.Aborted);
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

test("the time and the signal of a call cover the wait for a token", async () => {
  const encer = client({ tokens: new MemoryTokens(tokens(true)) });
  let release;
  server.refreshHeld = new Promise((resolve) => (release = resolve));
  const stop = new AbortController();
  const stopped = assert.rejects(encer.call("POST", "/profile/me", { signal: stop.signal }), kinds.Aborted);
  const late = assert.rejects(encer.call("POST", "/profile/me", { timeout: 1_000 }), kinds.Unreachable);
  await settle();
  stop.abort();
  await stopped;
  await pass(1_000);
  await late;
  release();
  await until(() => server.refreshes === 1);
});

test("a tab does not wait forever for a tab that renews the tokens", async (t) => {
  t.mock.method(AbortSignal, "timeout", () => AbortSignal.abort());
  const before = Object.getOwnPropertyDescriptor(globalThis, "navigator");
  const locks = { request: async (_, { signal }) => signal.throwIfAborted() };
  Object.defineProperty(globalThis, "navigator", { value: { locks }, configurable: true });
  const call = client().call("POST", "/profile/me");
  await assert.rejects(call, kinds.Unavailable);
  Object.defineProperty(globalThis, "navigator", before);
});
