// For units.mjs: a clock, a REST API and sockets without a network.
import { mock } from "node:test";

const claims = (userId, exp) => Buffer.from(JSON.stringify({ userId, iat: 0, exp })).toString("base64url");
const STEP = 250; // milliseconds between two looks at what the client did

export const tokenOf = (number, expired = false, user = "me") => `a.${claims(user, expired ? 1 : 4_000_000_000)}.${number}`;
export const tokens = (expired = false) => ({ accessToken: tokenOf(0, expired), refreshToken: "refresh-0" });

/** Let promises and callbacks that are due run. */
export async function settle() {
  for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
}

let now = 0;
/** Let promises run until this holds: locks of the runtime take an unknown number of turns. */
export async function until(holds) {
  for (let turn = 0; turn < 100_000 && !holds(); turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** Let this many milliseconds pass. */
export async function pass(ms, longestStep = STEP) {
  await settle();
  for (let left = ms; left > 0; left -= longestStep) {
    const step = Math.min(longestStep, left);
    now += step;
    mock.timers.tick(step);
    await settle();
  }
}

export class FakeServer {
  sockets = [];
  calls = []; // of the REST API: [method, path, query]
  pages = []; // what GET …/messages answers, in turn
  refreshes = 0;
  version = "0.1.0";
  lastRev = 0;
  held = undefined; // GET …/messages waits for it
  refreshHeld = undefined; // a refresh waits for it
  answerAll = undefined; // of the API
  restAnswer = undefined; // of /profile/me: [status, data, or null for a page]
  listing = [200, { data: [], pageInfo: { nextCursor: null } }];
  heartbeatMs = 25_000;
  user = "me";
  /** By event: the data of the ack, or undefined for no answer. */
  answers = {
    join_conversation: () => ({ lastRev: this.lastRev, replayed: 0, complete: true }),
    leave_conversation: () => ({}),
    authenticate: () => ({}),
    ping: () => ({}),
    mark_read: () => ({ unreadCount: 0 }),
    send_message: ({ content, clientMessageId }) => ({ message: message(++this.lastRev, { content, clientMessageId }) }),
  };
  /** What happens to a new socket; `ready` by default. */
  accept = (socket) => socket.ready();

  constructor() {
    mock.reset();
    mock.timers.enable({ apis: ["setTimeout"] });
    mock.method(performance, "now", () => now);
    mock.method(Math, "random", () => 0); // the shortest pauses
    mock.method(globalThis, "fetch", (url, options) => this.fetch(new URL(url), options));
    const server = this;
    this.WebSocket = class extends FakeSocket {
      constructor(url, protocols) {
        super(server, protocols[1].slice("bearer.".length));
      }
    };
  }

  get socket() {
    return this.sockets.at(-1);
  }

  /** Return the data of all commands of this name, on all sockets. */
  commands(name) {
    return this.sockets.flatMap(({ frames }) => frames.filter(({ event }) => event === name).map(({ data }) => data));
  }

  async fetch({ pathname, searchParams }, { method = "GET", body, signal } = {}) {
    signal?.throwIfAborted();
    this.calls.push([method, pathname, Object.fromEntries(searchParams)]);
    const [status, data] = await this.answer(method, pathname, body, signal);
    return new Response(data ? JSON.stringify(data) : "<html>", { status });
  }

  async answer(method, path, body, signal) {
    if (path === "/health") return [200, { status: "ok", version: this.version }];
    if (this.answerAll) return [200, this.answerAll];
    if (path === "/api/v1/auth/refresh") {
      const number = ++this.refreshes;
      await (this.refreshHeld ?? settle()); // other callers ask meanwhile
      return [200, { data: { accessToken: tokenOf(number, false, this.user), refreshToken: `refresh-${number}`, expiresIn: 900 } }];
    }
    if (path.endsWith("/profile/me") && this.restAnswer) return this.restAnswer;
    if (path === "/api/v1/auth/login") {
      const pair = { accessToken: tokenOf(`of ${this.user}`.replace(" ", "-"), false, this.user), refreshToken: "refresh", expiresIn: 900 };
      return [200, { data: { ...pair, user: { id: this.user } } }];
    }
    if (path.endsWith("/attachments")) return this.receiveFile(body, signal);
    if (path.endsWith("/messages")) await this.held;
    if (path.endsWith("/messages")) return [200, this.pages.shift() ?? page([])];
    if (path === "/api/v1/chat/conversations") return this.listing;
    if (path === "/ws") return [426, { error: "Upgrade", code: "UPGRADE_REQUIRED" }];
    return [200, { data: {} }];
  }

  async receiveFile(body, signal) {
    for await (const _ of body) signal.throwIfAborted();
    return [201, { data: { fileUrl: "/media/tea.png", messageType: "IMAGE" } }];
  }
}

class FakeSocket {
  frames = [];
  closed = false;

  constructor(server, bearer) {
    Object.assign(this, { server, bearer });
    server.sockets.push(this);
    setImmediate(() => server.accept(this));
  }

  send(text) {
    const frame = JSON.parse(text);
    this.frames.push(frame);
    const data = this.server.answers[frame.event]?.(frame.data);
    if (frame.id !== undefined && data) this.emit(data.code ? "error" : "ack", data, frame.id);
  }

  emit(event, data, id) {
    this.onmessage?.({ data: JSON.stringify({ event, data, id }) });
  }

  ready(user = this.server.user) {
    this.onopen();
    this.emit("ready", { userId: user, heartbeatMs: this.server.heartbeatMs, unreadNotifications: 0, unreadMessages: 0 });
  }

  /** The server closes it; with 1006, the network does. */
  end(code) {
    this.onclose?.({ code });
  }

  refuse(code) {
    if (code !== 1006) this.onopen();
    this.end(code);
  }

  close() {
    this.closed = true;
  }
}

export const message = (seq, fields = {}) => ({
  id: `m${seq}`, conversationId: "c", senderId: "other", seq, rev: seq, content: `line ${seq}`, isDeleted: false, ...fields,
});
export const page = (messages, hasMore = false) => ({ data: messages, pageInfo: { hasMore } });
