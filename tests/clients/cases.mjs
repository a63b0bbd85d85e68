// Runs cases.json with the built TypeScript client; test_cases.py runs this, and the same cases with the Python client.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import * as kinds from "../../clients/typescript/dist/encer.js";
import { FakeServer, message, page, pass, settle, tokenOf, tokens, until } from "./fakes.mjs";

const { Encer, MemoryTokens } = kinds;
const kindOf = (error) => Object.entries(kinds).find(([, kind]) => error.constructor === kind)[0];
const EVENTS = {
  message: ({ seq, rev }) => [seq, rev], edited: ({ seq, rev }) => [seq, rev], deleted: ({ seq, rev }) => [seq, rev],
  gap: ({ after, before }) => [after, before], typing: ({ typing }) => [typing], read: ({ seq }) => [seq], closed: () => [],
  error: ({ code }) => [code],
};
const pages = (all) => all.map((messages, index) => page(messages.map((fields) => message(fields.seq, fields)), index < all.length - 1));

class Store {
  constructor(items, failures = 0) {
    this.items = items.map((item, queuedAt) => !Array.isArray(item) ? item : {
      userId: item[0], content: item[1], queuedAt, conversationId: "c", clientMessageId: `stored ${queuedAt}`, messageType: "TEXT",
    });
    this.failures = failures;
  }
  fail() {
    if (this.failures-- > 0) throw new Error("The store fails, as the case says.");
  }
  load() {
    this.fail();
    return [...this.items];
  }
  add(unsent) {
    this.fail();
    this.items.push(unsent);
  }
  remove(unsent) {
    this.fail();
    this.items = this.items.filter(({ clientMessageId }) => clientMessageId !== unsent.clientMessageId);
  }
}

class Case {
  log = [];
  sends = [];
  stops = [];

  constructor({ after = 0, first = [], hold = false, offline = false, sendMs, heartbeatMs, expired = false, expiresAt, store, storeFails, tokens: pair, joinOn, connectOn }) {
    const server = (this.server = new FakeServer());
    server.heartbeatMs = heartbeatMs ?? server.heartbeatMs;
    this.store = store && new Store(store, storeFails);
    this.always = {};
    this.queued = {};
    for (const [name, usual] of Object.entries(server.answers))
      server.answers[name] = (data) => {
        const next = this.queued[name]?.length ? this.queued[name].shift() : this.always[name];
        return next === undefined ? usual(data) : (next ?? undefined);
      };
    server.pages = pages(first);
    if (hold) server.held = new Promise((resolve) => (this.release = resolve));
    this.encer = new Encer("http://api.test", {
      tokens: (this.tokens = new MemoryTokens(pair ?? { ...tokens(expired), ...(expiresAt ? { expiresAt } : {}) })), WebSocket: server.WebSocket, pace: [1e6, 1e6],
      ...(sendMs ? { sendWait: sendMs } : {}), ...(store ? { outbox: this.store } : {}),
    });
    if (offline) server.accept = (socket) => socket.refuse(1006);
    if (joinOn) this.encer.on("state", (state) => state === joinOn && this.join(after));
    else this.join(after);
    if (joinOn) this.encer.connect();
    this.encer.on("state", (state) => state === connectOn && this.encer.connect());
    this.encer.on("sent", ({ content }) => this.log.push(["sent", content]));
    this.encer.on("failed", ({ error }) => this.log.push(["failed", error.code]));
  }

  join(after) {
    this.chat = this.encer.conversation("c", after === null ? {} : { after });
    for (const [name, shown] of Object.entries(EVENTS)) this.chat.on(name, (data) => this.log.push([name, ...shown(data)]));
  }

  steps = {
    rejoin: (after) => {
      void this.chat.leave();
      this.join(after);
    },
    text: (text) => this.server.socket.onmessage({ data: text }),
    firstFrame: (text) => {
      this.server.accept = (socket) => {
        if (text === null) return socket.ready();
        socket.onopen();
        if (text) socket.onmessage({ data: text });
      };
    },
    ready: (user) => this.server.socket.ready(user),
    drop: (code) => {
      this.server.accept = (socket) => {
        socket.ready();
        setTimeout(() => socket.end(code), 20);
      };
    },
    wake: () => this.encer.wake(),
    answerAll: (answer) => (this.server.answerAll = answer),
    try: (name) =>
      this.start(() => ({ signIn: () => this.encer.signIn("one", "other"), history: () => this.chat.history(), edit: () => this.chat.edit("one", "other") })[name]()),
    frames: (frames) => frames.forEach(([name, data]) => this.server.socket.emit(name, frameData(name, data))),
    close: (code) => this.server.socket.end(code),
    pass: (ms) => pass(ms, ms > 100_000 ? 5_000 : 250),
    lastRev: (rev) => (this.server.lastRev = rev),
    answers: (answers) => Object.assign(this.queued, structuredClone(answers)),
    always: (answers) => {
      for (const [name, answer] of Object.entries(answers)) this.always[name] = answer ?? undefined;
    },
    pages: (all) => (this.server.pages = pages(all)),
    release: () => this.release(),
    refuse: (code) => (this.server.accept = (socket) => socket.refuse(code)),
    version: (version) => (this.server.version = version),
    rest: (answer) => (this.server.restAnswer = answer),
    holdRefresh: () => void (this.server.refreshHeld = new Promise((resolve) => (this.release = resolve))),
    do: (name) => void this.chat[name](),
    send: (text, { id, times = 1 }) =>
      this.start((signal) => this.chat.send(text.repeat(times), { signal, ...(id ? { clientMessageId: id } : {}) })),
    call: (method, { ms }) => this.start((signal) => this.encer.call(method, "/profile/me", { signal, ...(ms ? { timeout: ms } : {}) })),
    listing: (answer) => (this.server.listing = answer),
    rows: (rows) => (this.server.pages = [page(rows)]),
    user: (user) => (this.server.user = user),
    connect: () => this.encer.connect(),
    end: () => this.encer.close(),
    signIn: async (user) => {
      this.server.user = user;
      await this.encer.signIn(user, "password");
    },
    signOut: () => void this.encer.signOut().catch(() => undefined),
    cancel: (index) => this.stops[index].abort(),
    expect: (expected) => {
      for (const [what, value] of Object.entries(expected)) this.check(what, value);
    },
  };

  start(work) {
    const stop = new AbortController();
    const send = { outcome: null };
    this.sends.push(send);
    this.stops.push(stop);
    work(stop.signal).then(
      ({ content }) => Object.assign(send, { outcome: content, kind: "stored" }),
      (error) => Object.assign(send, { outcome: error.code === "ABORTED" ? "!cancelled" : `!${error.code}`, kind: kindOf(error) }),
    );
  }

  check(what, expected) {
    const { server, encer, chat } = this;
    if (what === "commands") {
      for (const [name, [least, most]] of Object.entries(expected)) {
        const count = server.commands(name).length;
        assert.ok(least <= count && count <= most, `${count} ${name}`);
      }
      return;
    }
    const shown = {
      log: () => this.log.filter(([name]) => !["sent", "failed"].includes(name) || expected.some(([other]) => other === name)),
      events: () => this.log.length,
      sends: () => this.sends.map(({ outcome }) => outcome),
      outcomes: () => this.sends.map(({ kind }) => kind),
      store: () => this.store.items.map(({ userId, content }) => [userId, content]),
      calls: () => server.calls.filter(([, path]) => path.endsWith("/profile/me")).length,
      refreshToken: () => this.tokens.load().refreshToken,
      closed: () => server.socket.closed,
      access: () => [0, 1, 2].find((number) => tokenOf(number) === this.tokens.load().accessToken),
      state: () => encer.state,
      error: () => encer.error?.code ?? null,
      sockets: () => server.sockets.length,
      refreshes: () => server.refreshes,
      conversations: () => encer.conversations.size,
      rev: () => chat.rev,
      fetched: () => server.calls.filter(([, path]) => path.endsWith("/messages")).map(([, , query]) => query.after ?? null),
    }[what];
    const [name, field] = what.split(".");
    assert.deepEqual(shown ? shown() : server.commands(name).map((data) => data[field]), expected, what);
  }
}

const frameData = (name, { seq, rev, ...more }) => {
  if (name === "message_sent" || name === "message_edited") return message(seq, { rev, ...more });
  const given = { conversationId: "c", ...more, ...(seq === undefined ? {} : { seq, rev }) };
  return name === "message_deleted" ? { messageId: `m${seq}`, ...given } : given;
};

for (const { name, steps, ...options } of JSON.parse(readFileSync(new URL("cases.json", import.meta.url))))
  test(name, async (t) => {
    if (options.storeFails || options.logs) t.mock.method(console, "error", () => undefined);
    const one = new Case(options);
    if (!options.offline) await until(() => ["live", "ended"].includes(one.encer.state));
    await settle();
    try {
      for (const step of steps) {
        const [[act, value]] = Object.entries(step);
        await one.steps[act](value, step);
        await settle();
      }
    } finally {
      one.encer.close();
      await settle();
    }
  });
