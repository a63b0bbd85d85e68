// One WebSocket of one person, as docs/realtime.md explains it: sign-in by subprotocol, answers by id, a ping per
// heartbeat, renewal before the token ends, reconnecting, and resuming every joined conversation from its highest rev.
import { ROOT } from "./session.js";

const ANSWER_MS = 10_000;
const PONG_MS = 5_000;
const LONGEST_PAUSE_MS = 15_000;
const CUT = 4900; // our own code: the button “Cut the line”
const NO_RETRY = {
  1009: "A frame was too large; the limit is 64 KiB.",
  4400: "The server does not understand this client.",
  4403: "This session has ended: signed out elsewhere, suspended or deleted. Sign in again to go on.",
  4429: "Too many frames or sockets. Wait a moment, then press Connect.",
};

export class RealtimeError extends Error {
  constructor(data) {
    super(data.message || data.error);
    Object.assign(this, data);
  }
}

// Events: "state" {state, sentence}, "frame" {direction, text, event}, and "event" {event, data} for each server event.
export class RealtimeSocket extends EventTarget {
  constructor(session, publicUrl) {
    super();
    Object.assign(this, { session, publicUrl, ws: null, waiting: new Map(), joined: new Map(), nextId: 1, attempts: 0, timers: {} });
    this.setState("closed");
  }

  setState(state, sentence = "") {
    this.state = state;
    this.emit("state", { state, sentence });
  }

  emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  async connect({ freshToken = false } = {}) {
    if (this.ws) return;
    this.stopTimers();
    this.setState("connecting");
    let token;
    try {
      token = await this.session.token({ fresh: freshToken });
    } catch (error) {
      this.setState("closed", error.message);
      return;
    }
    const url = new URL("ws", ROOT);
    url.protocol = url.protocol.replace("http", "ws");
    const ws = new WebSocket(url, ["encer.v1", `bearer.${token}`]);
    let opened = false;
    this.ws = ws;
    ws.onopen = () => { opened = true; };
    ws.onmessage = ({ data }) => this.receive(data);
    ws.onclose = ({ code }) => { if (this.ws === ws) this.closed(code, opened); };
  }

  close(code = 1000) {
    const ws = this.ws;
    if (!ws) return;
    this.ws = null; // its own close event says nothing new
    ws.close(code);
    this.forgetAnswers();
    this.stopTimers();
    this.setState(code === CUT ? "cut" : "closed");
  }

  cut() {
    this.close(CUT);
  }

  // -- frames -----------------------------------------------------------------------------------------------------

  // Send a command and wait for its ack. Rejects with RealtimeError.
  ask(event, data = {}) {
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      const fail = () => reject(new RealtimeError({ message: "No answer came. Resume, then send it again: it is stored once." }));
      this.waiting.set(id, { resolve, reject, timer: setTimeout(fail, ANSWER_MS) });
      if (!this.send({ event, data, id })) this.settle(id, "reject", new RealtimeError({ message: "The line is cut. Resume first." }));
    });
  }

  send(frame) {
    if (this.ws?.readyState !== WebSocket.OPEN) return false;
    const text = JSON.stringify(frame);
    this.ws.send(text);
    this.emit("frame", { direction: "sent", text, event: frame.event });
    return true;
  }

  receive(text) {
    const { event, data, id } = JSON.parse(text);
    this.emit("frame", { direction: "received", text, event });
    if (id !== undefined && event === "error") this.settle(id, "reject", new RealtimeError(data));
    else if (id !== undefined) this.settle(id, "resolve", data);
    if (event === "ready") this.ready(data);
    if (event === "going_away") this.pause = data.reconnectAfterMs;
    if (data?.rev && this.joined.has(data.conversationId)) this.sawRev(data.conversationId, data.rev);
    if (event === "conversation_closed") this.joined.delete(data.conversationId);
    this.emit("event", { event, data });
    if (event === "resync") this.resume(data.conversationId);
  }

  settle(id, how, value) {
    const waiting = this.waiting.get(id);
    if (!waiting) return;
    clearTimeout(waiting.timer);
    this.waiting.delete(id);
    waiting[how](value);
  }

  forgetAnswers() {
    for (const id of [...this.waiting.keys()]) this.settle(id, "reject", new RealtimeError({ message: "The socket closed before the answer. Resume, then send it again." }));
  }

  // -- conversations ----------------------------------------------------------------------------------------------

  sawRev(conversationId, rev) {
    this.joined.set(conversationId, Math.max(rev, this.joined.get(conversationId) ?? 0));
  }

  // Join, and get everything after `rev`: what was missed first, then live.
  async join(conversationId, rev) {
    const ack = await this.ask("join_conversation", { conversationId, after: rev });
    this.sawRev(conversationId, ack.complete ? ack.lastRev : rev);
    if (!ack.complete) this.emit("event", { event: "too_far_behind", data: { conversationId } });
    return ack;
  }

  leave(conversationId) {
    this.joined.delete(conversationId);
    return this.ask("leave_conversation", { conversationId });
  }

  resume(only) {
    for (const [conversationId, rev] of this.joined) {
      if (only && only !== conversationId) continue;
      this.join(conversationId, rev).catch((error) => this.emit("event", { event: "join_failed", data: { conversationId, message: error.message } }));
    }
  }

  // -- how long it lives ------------------------------------------------------------------------------------------

  ready({ heartbeatMs }) {
    this.attempts = 0;
    this.setState("ready");
    this.timers.ping = setInterval(() => this.ping(), heartbeatMs);
    this.timers.renew = setInterval(() => this.renew(), 5_000);
    this.resume();
  }

  // A frozen server or a tunnel does not close the socket: only a missing pong shows it.
  ping() {
    const late = setTimeout(() => this.ws?.close(), PONG_MS);
    this.ask("ping").catch(() => {}).finally(() => clearTimeout(late));
  }

  async renew() {
    if (Date.now() < this.session.renewAt) return;
    try {
      await this.ask("authenticate", { token: await this.session.token() });
    } catch (error) {
      this.close();
      this.setState("closed", error.message);
    }
  }

  closed(code, opened) {
    this.ws = null;
    this.forgetAnswers();
    this.stopTimers();
    if (NO_RETRY[code]) return this.setState("closed", `${code}: ${NO_RETRY[code]}`);
    if (!opened && this.originIsForeign()) return this.setState("closed", this.refusedOrigin());
    const pause = this.pause ?? Math.min(LONGEST_PAUSE_MS, 500 * 2 ** this.attempts) * (0.5 + Math.random() / 2);
    this.pause = undefined;
    this.attempts += 1;
    const why = opened ? `The socket closed (${code})` : "The server does not answer, or a proxy before it passes no WebSockets on";
    this.setState("waiting", `${why}. Trying again in ${(pause / 1000).toFixed(1)} s.`);
    this.timers.retry = setTimeout(() => this.connect({ freshToken: code === 4401 }), pause);
    return undefined;
  }

  originIsForeign() {
    return this.publicUrl && new URL(this.publicUrl).origin !== location.origin;
  }

  refusedOrigin() {
    const page = new URL("docs/realtime", `${this.publicUrl}/`);
    return `The server refused this page's origin, ${location.origin}. Open ${page} instead, or add the origin to FRONTEND_URL.`;
  }

  stopTimers() {
    clearInterval(this.timers.ping);
    clearInterval(this.timers.renew);
    clearTimeout(this.timers.retry);
    this.timers = {};
  }
}
