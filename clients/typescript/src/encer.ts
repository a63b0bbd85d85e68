// The client: one connection with its states, and the conversations, outbox and counts that use it.

import { Backoff } from "./backoff.js";
import { Conversation } from "./conversation.js";
import { Emitter, LONGEST_TIMER, sleep } from "./emitter.js";
import { Closed, EncerError, mayPass, NotSignedIn, TooMany, Unreachable, WrongServer } from "./errors.js";
import { Listing } from "./listing.js";
import { anotherUser, Outbox, type OutboxEvents, type OutboxStore } from "./outbox.js";
import { type CallOptions, type Json, Rest } from "./rest.js";
import { Socket } from "./socket.js";
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
const HEARTBEAT = [1_000, 60_000] as const; // the least and most that the server may request

export class Encer extends Emitter<EncerEvents> {
  readonly rest: Rest;
  readonly outbox: Outbox;
  readonly unread = new Unread((id, count) => this.emitUnread(id, count));
  readonly conversations = new Map<string, Conversation>();
  state: State = "offline";
  /** The last failure, or the reason why the client ended. */
  error: EncerError | undefined;
  userId = "";
  socket: Socket | undefined;
  private backoff = new Backoff();
  private checked = false;
  private finished = false; // by `close`
  private running: AbortController | undefined; // aborted by `close`
  private woken = new AbortController(); // ends the current pause
  private refused: string | undefined; // the access token that the server did not accept
  private pendingFrames = 0;
  private switches = 0; // of the user, by `signIn`
  private readyAt: number | undefined; // when the current connection became live
  private leaving: Promise<unknown> = Promise.resolve(); // until the server has answered each `leave_conversation`
  private listing = new Listing(this);
  private unlisten: (() => void)[] = [];

  /** Throws WrongServer if `base` is not a URL. */
  constructor(base: string, private options: EncerOptions = {}) {
    super();
    this.rest = new Rest(base, options.tokens ?? new MemoryTokens());
    const emit = (name: keyof OutboxEvents, data: unknown): void => this.emit(name, data as never);
    this.outbox = new Outbox(emit, () => this.findUser(), options.outbox, options.sendWait);
  }

  /** Sign in, store the tokens and return the user. Messages of a former user wait until that user signs in. */
  async signIn(email: string, password: string): Promise<SignedInUser> {
    const before = await this.rest.session.userId();
    const user: SignedInUser = await this.rest.signIn(email, password);
    if ([before, this.userId, this.outbox.user].some((id) => id && id !== user.id)) {
      this.switches++; // an attempt to connect that still uses the former user's token is given up
      this.userId = user.id;
      this.outbox.end(anotherUser());
      this.socket?.drop();
      this.dropSocket();
    }
    return user;
  }

  /** End the session on the server, delete the tokens and the unsent messages, and close. */
  async signOut(): Promise<void> {
    const user = await this.findUser();
    try {
      await this.call("POST", "/auth/logout");
    } finally {
      await this.rest.session.store.save(null);
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
      if (socket) this.supervise(socket, this.leaving.then(() => this.join(joining, socket)).then(() => void this.listing.ask()));
    }
    this.connect();
    return chat;
  }

  /** Connect, and reconnect until `close` or an error that a retry cannot solve. */
  connect(): void {
    if (this.running || this.finished) return;
    this.running = new AbortController();
    this.backoff = new Backoff();
    this.error = undefined;
    this.watchBrowser();
    void this.run(this.running.signal);
  }

  /** Wait until the connection is live. Rejects with the error that ended it, or Unreachable after `timeout` ms. */
  async live(timeout = LIVE): Promise<void> {
    this.connect();
    if (this.state === "live") return;
    this.checkOpen();
    let stop = (): void => undefined;
    const changed = new Promise<void>((resolve, reject) => {
      const timer = setTimeout(
        () => reject(this.error ?? new Unreachable(`There was no connection within ${timeout / 1000} s.`)), timeout,
      );
      const end = this.on("state", (state) => {
        if (state === "live") resolve();
        if (state === "ended") reject(this.error ?? closed());
      });
      stop = () => {
        clearTimeout(timer);
        end();
      };
    });
    return changed.finally(stop);
  }

  /** Check the connection now. Browsers do so automatically when the page becomes visible or the network changes. */
  wake(): void {
    this.woken.abort();
    if (this.socket) this.supervise(this.socket, this.socket.ping());
  }

  /** Close the connection. Waiting messages of the outbox fail with Closed; a persisted outbox keeps them. */
  close(): void {
    this.finished = true;
    this.running?.abort(closed());
    this.end(undefined);
  }

  // -- for its parts ----------------------------------------------------------------------------------------------------

  /** Return the id of the user of the socket, else of the stored tokens, which other tabs may share. */
  private async findUser(): Promise<string> {
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
    this.leaving = Promise.allSettled([this.leaving, left]).then(() => undefined);
    await left;
  }

  /** Send a frame whose loss does not matter; false if there is no connection. */
  sendFrame(event: string, conversationId: string): boolean {
    if (!this.socket || this.pendingFrames >= PENDING_FRAMES) return false;
    this.pendingFrames++;
    this.supervise(this.socket, this.socket.send(event, { conversationId }).finally(() => this.pendingFrames--));
    return true;
  }

  /** Drop the socket if this fails; the next socket starts it again. */
  supervise(socket: Socket, work: Promise<unknown>): void {
    work.catch((error: unknown) => {
      if (socket.signal.aborted) return;
      if (error instanceof EncerError) this.error = error;
      else console.error("The connection failed.", error);
      socket.drop();
    });
  }

  // -- the connection ---------------------------------------------------------------------------------------------------

  private async run(signal: AbortSignal): Promise<void> {
    try {
      for (;;) {
        this.set("connecting");
        this.readyAt = undefined;
        let code: number | undefined;
        let goodbye: number | undefined;
        let failure: EncerError | undefined;
        try {
          [code, goodbye] = await this.connectOnce(signal);
        } catch (error) {
          if (!mayPass(error)) throw error;
          failure = this.error = error;
        }
        this.dropSocket();
        signal.throwIfAborted();
        const lived = performance.now() - (this.readyAt ?? performance.now());
        const pause = this.backoff.after(code, failure ?? this.error, goodbye, lived);
        this.woken = new AbortController(); // first, so that a listener of `offline` may call `wake`
        this.set("offline");
        await sleep(pause, this.backoff.isDue ? signal : AbortSignal.any([signal, this.woken.signal])).catch(() => undefined);
        signal.throwIfAborted();
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof EncerError)) console.error("The client failed.", error);
      this.end(error instanceof EncerError ? error : new EncerError("The client failed. Please report it."));
    }
  }

  /** Connect and stay until the socket closes; return its code and the pause that the server requested. */
  private async connectOnce(signal: AbortSignal): Promise<[code?: number | undefined, goodbye?: number | undefined]> {
    if (!this.checked) {
      await this.rest.checkServer();
      this.checked = true;
    }
    const { switches } = this;
    const token = await this.rest.session.token(this.refused);
    signal.throwIfAborted();
    let goodbye: number | undefined;
    const socket = await Socket.open(this.rest.base, token, this.options, (socket, data) => {
      socket.onEvent = (name, data) => {
        if (name === "going_away" && data.reconnectAfterMs >= 0) goodbye = data.reconnectAfterMs;
        this.dispatch(socket, name, data);
      };
      if (switches !== this.switches) socket.drop();
      else if (!signal.aborted) this.ready(socket, token, data);
    }).catch((error: unknown) => this.diagnose(error, token));
    const drop = (): void => socket.drop();
    signal.addEventListener("abort", drop, { once: true });
    if (signal.aborted) drop();
    const code = await socket.closed;
    signal.removeEventListener("abort", drop);
    if (socket.failure) throw socket.failure;
    if (switches !== this.switches) return [];
    this.refused = code === 4401 ? token : undefined;
    return [code, goodbye];
  }

  /** Find out by REST why no socket opened, because a WebSocket does not give the reason. */
  private async diagnose(error: unknown, token: string): Promise<never> {
    if (error instanceof WrongServer) throw error;
    await this.rest.checkServer();
    const upgrade = await this.rest.send("GET", "/ws", { token }).catch((refusal: EncerError) => refusal);
    if (upgrade instanceof EncerError && upgrade.code === "FORBIDDEN") throw this.rest.refusedOrigin();
    if (upgrade instanceof EncerError && upgrade.status === 404) throw upgrade;
    throw error;
  }

  private ready(socket: Socket, token: string, data: Json): void {
    this.socket = socket;
    this.readyAt = performance.now();
    this.userId = data.userId;
    this.error = undefined;
    this.checked = false; // the next connection may be to another version, after an upgrade
    this.set("live");
    this.unread.ready(data);
    this.supervise(socket, this.heartbeat(socket, data.heartbeatMs));
    this.supervise(socket, this.renew(socket, token));
    this.supervise(socket, this.joinAll(socket));
    this.supervise(socket, this.outbox.live(socket, this.userId));
  }

  private async heartbeat(socket: Socket, pause: number): Promise<void> {
    for (;;) {
      await sleep(Math.min(Math.max(pause, HEARTBEAT[0]), HEARTBEAT[1]), socket.signal);
      await socket.ping();
    }
  }

  /** Sign in again over the same socket before the token expires. */
  private async renew(socket: Socket, token: string): Promise<void> {
    const { session } = this.rest;
    const untilRenewal = (token: string) => Math.min(LONGEST_TIMER, Math.max(1, session.secondsToRenewal(token)) * 1000);
    let pause = untilRenewal(token);
    for (;;) {
      await sleep(pause, socket.signal);
      try {
        const renewed = await session.token();
        await socket.ask("authenticate", { token: renewed });
        pause = untilRenewal(renewed);
      } catch (error) {
        if (!mayPass(error)) throw error;
        pause = RENEWAL_RETRY * (1 + Math.random());
      }
    }
  }

  private async joinAll(socket: Socket): Promise<void> {
    for (const chat of [...this.conversations.values()]) await this.join(chat, socket);
    this.backoff.live();
    void this.listing.ask();
  }

  private async join(chat: Conversation, socket: Socket): Promise<void> {
    try {
      await chat.resume(socket);
    } catch (error) {
      // The next socket retries temporary failures. A retry cannot solve others, such as a missing participant.
      if (error instanceof Closed || mayPass(error) || !(error instanceof EncerError)) throw error;
      if (this.conversations.get(chat.id) === chat) this.conversations.delete(chat.id);
      chat.emit("error", error);
    }
  }

  private dispatch(socket: Socket, name: string, data: Json): void {
    if (name.startsWith("notification_")) {
      if (this.unread.notification(data)) void this.listing.ask();
      this.emit("notification", { kind: name.slice(13), ...data });
    } else if (name === "user_online" || name === "user_offline")
      this.emit("presence", { online: name === "user_online", ...data });
    else if (name === "resync" && !data.conversationId) void this.listing.ask();
    else {
      const chat = this.conversations.get(data.conversationId);
      if (name === "resync") chat?.resync(socket);
      else chat?.receive(name, data);
    }
  }

  private emitUnread(conversationId: string, count: number): void {
    const chat = this.conversations.get(conversationId);
    if (chat) {
      chat.unread = count;
      chat.emit("unread", { count });
    }
    this.emit("unread", { notifications: this.unread.notifications, messages: this.unread.messages });
  }

  private watchBrowser(): void {
    const wake = (): void => this.wake();
    const shown = (): void => void (document.visibilityState === "visible" && wake());
    const watch = (target: EventTarget | undefined, name: string, listener: () => void): void => {
      target?.addEventListener(name, listener);
      this.unlisten.push(() => target?.removeEventListener(name, listener));
    };
    watch(globalThis.window, "online", wake);
    watch(globalThis.window, "pageshow", wake);
    watch(globalThis.document, "visibilitychange", shown);
  }

  private dropSocket(): void {
    if (!this.socket) return;
    this.socket = undefined;
    this.outbox.offline();
    for (const chat of this.conversations.values()) chat.offline();
  }

  private set(state: State): void {
    if (state === this.state) return;
    this.state = state;
    this.emit("state", state);
  }

  private end(error: EncerError | undefined): void {
    this.dropSocket();
    this.running = undefined;
    for (const stop of this.unlisten.splice(0)) stop();
    if (this.state === "ended") return;
    this.error = error;
    this.outbox.end(error ?? closed());
    this.set("ended");
    if (error) this.emit("error", error);
  }
}

const closed = (): Closed => new Closed("The client is closed.");
