// The client: one connection with its states, and the conversations, outbox and counts that use it.

import { Backoff } from "./backoff.js";
import { Conversation } from "./conversation.js";
import { Emitter, LONGEST_TIMER, sleep, within } from "./emitter.js";
import { Closed, EncerError, mayPass, notHere, NotSignedIn, SessionEnded, TooMany, Unreachable, WrongServer } from "./errors.js";
import { Listing } from "./listing.js";
import { anotherUser, Outbox, type OutboxEvents, type OutboxStore } from "./outbox.js";
import { type CallOptions, closed, type Json, Rest } from "./rest.js";
import { checkNumbers, Socket } from "./socket.js";
import { MemoryTokens, type TokenStore } from "./tokens.js";
import type { NotificationEvent, Presence, SignedInUser } from "./types.js";
import { Unread } from "./unread.js";

export type State = "connecting" | "live" | "offline" | "ended";

export interface EncerEvents extends OutboxEvents {
  state: State;
  notification: NotificationEvent;
  presence: Presence;
  unread: { notifications: number; messages: number };
  error: EncerError;
}

export interface EncerOptions {
  tokens?: TokenStore;
  outbox?: OutboxStore;
  /** Milliseconds that a message waits at most; an hour by default. */
  sendWait?: number;
  /** Frames per second, and the number that may be sent at once. */
  pace?: [rate: number, burst: number];
  /** Used instead of the global class, for example to log frames. */
  WebSocket?: typeof WebSocket;
}

const CONVERSATIONS = 100; // that a socket may join
const LIVE = 60_000; // that `live` waits
const PENDING_FRAMES = 20; // frames without an answer that wait to be sent; further ones are dropped
const RENEWAL_RETRY = 5_000;
const TOKEN = 30_000; // that a connection waits for a token: longer than another tab may take to renew it

export class Encer extends Emitter<EncerEvents> {
  readonly rest: Rest;
  readonly outbox: Outbox;
  readonly unread = new Unread((id, count) => this._emitUnread(id, count));
  readonly conversations = new Map<string, Conversation>();
  state: State = "offline";
  /** The last failure, or the reason why the client ended. */
  error: EncerError | undefined;
  userId = "";
  socket: Socket | undefined;
  private _backoff = new Backoff();
  private _checked = false;
  private _finished = false; // by `close`
  private _running: AbortController | undefined; // aborted by `close`
  private _woken = new AbortController(); // ends the current pause
  private _failure: EncerError | undefined; // of the current attempt to connect, or of its connection
  private _refused: string | undefined; // the access token that the server did not accept
  private _pendingFrames = 0;
  private _switches = 0; // of the user, by `signIn`
  private _readyAt: number | undefined; // when the current connection became live
  private _leaving: Promise<unknown> = Promise.resolve(); // until the server has answered each `leave_conversation`
  private _listing = new Listing(this);
  private _unlisten: (() => void)[] = [];

  /** Throws WrongServer if `base` is not a URL. */
  constructor(base: string, private _options: EncerOptions = {}) {
    super();
    this.rest = new Rest(base, _options.tokens ?? new MemoryTokens());
    const emit = (name: keyof OutboxEvents, data: unknown): void => this.emit(name, data as never);
    this.outbox = new Outbox(emit, () => this._findUser(), _options.outbox, _options.sendWait);
  }

  /** Sign in, store the tokens and return the user. The conversations of a former user end; messages of a former user
   * wait until that user signs in. */
  async signIn(email: string, password: string): Promise<SignedInUser> {
    const before = await this.rest.session.userId();
    return this.rest.signIn(email, password, (id) => {
      if (![before, this.userId, this.outbox.user].some((user) => user && user !== id)) return;
      this._switches++; // an attempt to connect that still uses the former user's token is given up
      this.socket?.drop();
      this._dropSocket();
      this._replaceUser(id);
    });
  }

  /** End the session on the server, delete the tokens and the unsent messages, and close. */
  async signOut(): Promise<void> {
    const user = await this._findUser();
    try {
      await this.call("POST", "/auth/logout");
    } finally {
      await this.rest.session.keep(null);
      this.close();
      await this.outbox.discard(user);
    }
  }

  /** Call the REST API: `await encer.call("GET", "/chat/contacts")` returns the answer's JSON. */
  call(method: string, path: string, options?: CallOptions): Promise<Json> {
    return this.rest.call(method, path, options);
  }

  /** Join a conversation. It begins with the newest 50 messages, or with every change after rev `after`. */
  conversation(id: string, { after }: { after?: number } = {}): Conversation {
    let chat = this.conversations.get(id);
    if (!chat) {
      if (this.conversations.size >= CONVERSATIONS)
        throw new TooMany(`At most ${CONVERSATIONS} conversations can be joined. Leave one first.`);
      const joining = (chat = new Conversation(this, id, after));
      this.conversations.set(id, joining);
      const { socket } = this;
      // Until the server has answered, events may be those of an object that leaves the conversation.
      if (socket) this.supervise(socket, this._leaving.then(() => this._join(joining, socket)).then(() => void this._listing.ask()));
    }
    this.connect();
    return chat;
  }

  /** Connect, and reconnect until `close` or an error that a retry cannot solve. */
  connect(): void {
    if (this._running || this._finished) return;
    this._running = new AbortController();
    this._backoff = new Backoff();
    this.error = undefined;
    this._watchBrowser();
    void this._run(this._running.signal);
  }

  /** Wait until the connection is live. Rejects with the error that ended it, or Unreachable after `timeout` ms. */
  async live(timeout = LIVE): Promise<void> {
    this.connect();
    if (this.state === "live") return;
    this.checkOpen();
    let stop = (): void => undefined;
    const changed = new Promise<void>((resolve, reject) => {
      stop = this.on("state", () => {
        if (this.state === "live") resolve();
        if (this.state === "ended") reject(this.error ?? closed()); // not if a listener has connected again
      });
    });
    const late = () => this.error ?? new Unreachable(`There was no connection within ${timeout / 1000} s.`);
    return within(changed, timeout, late).finally(stop);
  }

  /** Check the connection now. Browsers do so automatically when the page becomes visible or the network changes. */
  wake(): void {
    this._woken.abort();
    if (this.socket) this.supervise(this.socket, this.socket.ping());
  }

  /** Close the connection. Later calls and waiting messages fail with Closed; a persisted outbox keeps the messages. */
  close(): void {
    this._finished = this.rest.closed = true;
    this._running?.abort(closed());
    this._end(undefined);
  }

  // -- for its parts ----------------------------------------------------------------------------------------------------

  /** Return the id of the user of the socket, else of the stored tokens, which other tabs may share. */
  private async _findUser(): Promise<string> {
    return this.socket ? this.userId : this.rest.session.userId();
  }

  checkOpen(): void {
    if (this.state === "ended") throw this.error ?? closed();
  }

  async removeConversation(chat: Conversation): Promise<void> {
    if (this.conversations.get(chat.id) !== chat) return;
    this.conversations.delete(chat.id);
    const left = this.socket?.ask("leave_conversation", { conversationId: chat.id }).catch((error: unknown) => {
      if (!(error instanceof Closed || error instanceof NotSignedIn)) throw error; // the next socket does not join it
    });
    this._leaving = Promise.allSettled([this._leaving, left]).then(() => undefined);
    await left;
  }

  /** Send a frame whose loss does not matter; false if there is no connection. */
  sendFrame(event: string, conversationId: string): boolean {
    if (!this.socket || this._pendingFrames >= PENDING_FRAMES) return false;
    this._pendingFrames++;
    this.supervise(this.socket, this.socket.send(event, { conversationId }).finally(() => this._pendingFrames--));
    return true;
  }

  /** Drop the socket if this fails; the next socket starts it again. */
  supervise(socket: Socket, work: Promise<unknown>): void {
    work.catch((error: unknown) => {
      if (socket.signal.aborted) return;
      if (error instanceof EncerError) this._failure = error;
      else console.error("The connection failed.", error);
      socket.drop();
    });
  }

  // -- the connection ---------------------------------------------------------------------------------------------------

  private async _run(signal: AbortSignal): Promise<void> {
    try {
      for (;;) {
        this._set("connecting");
        this._readyAt = undefined;
        let code: number | undefined;
        let goodbye: number | undefined;
        this._failure = undefined;
        try {
          [code, goodbye] = await this._connectOnce(signal);
        } catch (error) {
          if (!mayPass(error)) throw error;
          this._failure = error;
        }
        this._dropSocket();
        signal.throwIfAborted();
        this.error = this._failure;
        const lived = performance.now() - (this._readyAt ?? performance.now());
        const pause = this._backoff.after(code, this.error, goodbye, lived);
        this._woken = new AbortController(); // first, so that a listener of `offline` may call `wake`
        this._set("offline");
        await sleep(pause, this._backoff.isDue ? signal : AbortSignal.any([signal, this._woken.signal])).catch(() => undefined);
        signal.throwIfAborted();
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof EncerError)) console.error("The client failed.", error);
      this._end(error instanceof EncerError ? error : new EncerError("The client failed. Please report it."));
    }
  }

  /** Connect and stay until the socket closes; return its code and the pause that the server requested. */
  private async _connectOnce(signal: AbortSignal): Promise<[code?: number | undefined, goodbye?: number | undefined]> {
    if (!this._checked) {
      await this.rest.checkServer();
      this._checked = true;
    }
    const switches = this._switches;
    const token = await this.rest.token({ signal, timeout: TOKEN }, this._refused);
    let goodbye: number | undefined;
    const socket = await Socket.open(this.rest.base, token, this._options, (socket, data) => {
      socket.onEvent = (name, data) => {
        if (name === "going_away" && data.reconnectAfterMs >= 0) goodbye = data.reconnectAfterMs;
        this._dispatch(socket, name, data);
      };
      if (switches !== this._switches) socket.drop();
      else if (!signal.aborted) this._ready(socket, token, data);
    }).catch((error: unknown) => this._diagnose(error, token));
    const drop = (): void => socket.drop();
    signal.addEventListener("abort", drop, { once: true });
    if (signal.aborted) drop();
    let code = await socket.closed;
    signal.removeEventListener("abort", drop);
    if (socket.failure) throw socket.failure;
    if (switches !== this._switches) return [];
    // A close follows an answer with this error, and the client has not waited for it.
    if (this._failure instanceof NotSignedIn) code = this._failure instanceof SessionEnded ? 4403 : 4401;
    this._refused = code === 4401 ? token : undefined;
    return [code, goodbye];
  }

  /** Find out by REST why no socket opened, because a WebSocket does not give the reason. */
  private async _diagnose(error: unknown, token: string): Promise<never> {
    if (error instanceof WrongServer) throw error;
    await this.rest.checkServer();
    const upgrade = await this.rest.send("GET", "/ws", { token }).catch((refusal: EncerError) => refusal);
    if (upgrade instanceof EncerError && upgrade.code === "FORBIDDEN") throw this.rest.refusedOrigin();
    if (upgrade instanceof EncerError && upgrade.status === 404) throw upgrade;
    throw error;
  }

  private _ready(socket: Socket, token: string, data: Json): void {
    const { userId } = data;
    if (typeof userId !== "string") throw new TypeError("userId");
    checkNumbers(data.heartbeatMs, data.unreadNotifications, data.unreadMessages);
    if (this.userId && this.userId !== userId) this._replaceUser(userId); // another tab has signed in
    this.socket = socket;
    this._readyAt = performance.now();
    this.userId = userId;
    this.error = undefined;
    this._checked = false; // the next connection may be to another version, after an upgrade
    this.supervise(socket, this._joinAll(socket)); // first: a listener of `live` may join further conversations
    this._set("live");
    if (this.socket !== socket) return; // a listener has closed the client
    this.unread.ready(data);
    this.supervise(socket, socket.heartbeat(data.heartbeatMs));
    this.supervise(socket, this._renew(socket, token));
    this.supervise(socket, this.outbox.live(socket, this.userId));
  }

  /** Sign in again over the same socket before the token expires. */
  private async _renew(socket: Socket, token: string): Promise<void> {
    const { session } = this.rest;
    const untilRenewal = (token: string) => Math.min(LONGEST_TIMER, Math.max(1, session.secondsToRenewal(token)) * 1000);
    let pause = untilRenewal(token);
    for (;;) {
      await sleep(pause, socket.signal);
      try {
        const renewed = await this.rest.token({ signal: socket.signal, timeout: TOKEN });
        await socket.ask("authenticate", { token: renewed });
        pause = untilRenewal(renewed);
      } catch (error) {
        if (!mayPass(error)) throw error;
        pause = RENEWAL_RETRY * (1 + Math.random());
      }
    }
  }

  private async _joinAll(socket: Socket): Promise<void> {
    for (const chat of [...this.conversations.values()]) await this._join(chat, socket);
    this._backoff.live();
    void this._listing.ask();
  }

  private async _join(chat: Conversation, socket: Socket): Promise<void> {
    try {
      await chat.resume(socket);
    } catch (error) {
      // The next socket retries temporary failures. A retry cannot solve others, such as a missing participant.
      if (error instanceof Closed || error instanceof NotSignedIn || mayPass(error)) throw error;
      if (this.conversations.get(chat.id) === chat) this.conversations.delete(chat.id);
      chat.emit("error", error instanceof EncerError ? error : notHere(this.rest.base));
    }
  }

  private _dispatch(socket: Socket, name: string, data: Json): void {
    if (name.startsWith("notification_")) {
      if (this.unread.notification(data)) void this._listing.ask();
      this.emit("notification", { kind: name.slice(13), ...data });
    } else if (name === "user_online" || name === "user_offline")
      this.emit("presence", { online: name === "user_online", ...data });
    else if (name === "resync" && !data.conversationId) void this._listing.ask();
    else {
      const chat = this.conversations.get(data.conversationId);
      if (name === "resync") chat?.resync(socket);
      else chat?.receive(name, data);
    }
  }

  private _emitUnread(conversationId: string, count: number): void {
    const chat = this.conversations.get(conversationId);
    if (chat) {
      chat.unread = count;
      chat.emit("unread", { count });
    }
    this.emit("unread", { notifications: this.unread.notifications, messages: this.unread.messages });
  }

  private _watchBrowser(): void {
    const wake = (): void => this.wake();
    const shown = (): void => void (document.visibilityState === "visible" && wake());
    const watch = (target: EventTarget | undefined, name: string, listener: () => void): void => {
      target?.addEventListener(name, listener);
      this._unlisten.push(() => target?.removeEventListener(name, listener));
    };
    watch(globalThis.window, "online", wake);
    watch(globalThis.window, "pageshow", wake);
    watch(globalThis.document, "visibilitychange", shown);
  }

  /** End what belongs to a former user. */
  private _replaceUser(id: string): void {
    this.userId = id;
    this._failure = undefined;
    this.outbox.end(anotherUser());
    const chats = [...this.conversations.values()];
    this.conversations.clear();
    this.unread.listed(new Map());
    for (const chat of chats) chat.end(new Closed("Another user has signed in. Join the conversation again."));
  }

  private _dropSocket(): void {
    if (!this.socket) return;
    this.socket = undefined;
    this.outbox.offline();
    for (const chat of this.conversations.values()) chat.offline();
  }

  private _set(state: State): void {
    if (state === this.state) return;
    this.state = state;
    this.emit("state", state);
  }

  private _end(error: EncerError | undefined): void {
    this._dropSocket();
    this._running = undefined;
    for (const stop of this._unlisten.splice(0)) stop();
    if (this.state === "ended") return;
    this.error = error;
    this.outbox.end(error ?? closed());
    this._set("ended");
    if (error) this.emit("error", error);
  }
}
