// Messages that wait to be sent: bounded, in order per conversation, each stored once.

import { LONGEST_TIMER, sleep } from "./emitter.js";
import {
  Aborted,
  Closed,
  EncerError,
  NotSignedIn,
  OutboxFull,
  RateLimited,
  SendTimeout,
  TooLarge,
  Unavailable,
} from "./errors.js";
import type { Socket } from "./socket.js";
import type { Message } from "./types.js";

export const ITEMS = 200; // waiting messages; with more, the network is down for long, and the program must decide
const WAIT = 3_600_000; // how long a message waits at most, in each run of the program
const MAX_CONTENT = 5_000;
const DEFECT_TRIES = 10; // after INTERNAL: a defect of the server may be permanent. Other answers are repeated until WAIT.
const FIRST_PAUSE = 500; // before a repetition, if the server does not say when
const LONGEST_PAUSE = 30_000;

export interface NewMessage {
  conversationId: string;
  clientMessageId: string;
  content: string;
  messageType: string;
  fileUrl?: string | undefined;
}

/** A message that waits, as the persistence hook stores it. */
export interface Unsent extends NewMessage {
  userId: string; // of its author: other users of the same store do not send it
  queuedAt: number; // milliseconds of this machine's clock, for the order
}

/** The persistence hook. Tabs and users may share a store, because each changes only its own messages.
 * A store must apply changes in the order of the calls, because the client does not wait between them. */
export interface OutboxStore {
  /** All messages, oldest first. */
  load(): Unsent[] | Promise<Unsent[]>;
  add(unsent: Unsent): void | Promise<void>;
  /** Delete a message; another tab may have deleted it before. */
  remove(unsent: Unsent): void | Promise<void>;
}

/** An outbox that survives a reload of the page; each message has its own entry, which begins with `key`. */
export class BrowserOutbox implements OutboxStore {
  constructor(private _key = "encer.outbox", private _storage: Storage = localStorage) {}
  load(): Unsent[] {
    const keys = Array.from({ length: this._storage.length }, (_, index) => this._storage.key(index) ?? "");
    const found = keys.filter((key) => key.startsWith(`${this._key}[`)).flatMap((key) => this._read(key));
    return found.sort((one, other) => one.queuedAt - other.queuedAt);
  }
  /** Return the message of a key, or nothing if it is unreadable or another tab has sent it. */
  private _read(key: string): Unsent[] {
    const text = this._storage.getItem(key);
    try {
      const unsent = JSON.parse(text ?? "") as Unsent;
      if (this._keyOf(unsent) === key && unsent.queuedAt > 0) return [unsent];
    } catch {}
    if (text) console.error(`${key} is not an unsent message, so it is not sent.`);
    return [];
  }
  add(unsent: Unsent): void {
    this._storage.setItem(this._keyOf(unsent), JSON.stringify(unsent));
  }
  remove(unsent: Unsent): void {
    this._storage.removeItem(this._keyOf(unsent));
  }
  private _keyOf({ userId, conversationId, clientMessageId }: Unsent): string {
    return this._key + JSON.stringify([userId, conversationId, clientMessageId]);
  }
}

export interface OutboxEvents {
  sent: Message;
  failed: { message: Unsent; error: EncerError };
}

interface Item {
  unsent: Unsent;
  stored: Promise<Message>;
  resolve(message: Message): void;
  reject(error: EncerError): void;
  waiters: number; // calls of `send` that wait for it
  tries: number;
  timer: ReturnType<typeof setTimeout>;
}

export class Outbox {
  user = ""; // whose messages these are
  private _items = new Map<string, Item>(); // oldest first
  private _socket: Socket | undefined;
  private _sending = new Map<string, Socket>(); // by conversation
  private _loaded: Promise<void> | undefined;
  private _newest = 0; // the last `queuedAt`
  private _lastEnd: EncerError | undefined; // of `end`: what began to load before it is not of the present user

  /** `findUser` returns the id of the signed-in user, or "". */
  constructor(
    private _emit: <Name extends keyof OutboxEvents>(name: Name, data: OutboxEvents[Name]) => void,
    private _findUser: () => Promise<string>,
    private _store?: OutboxStore,
    private _wait = WAIT,
  ) {
    this._wait = Math.min(_wait, LONGEST_TIMER);
  }

  /** Queue a message; resolves with the message as it was stored.
   * Two calls with one clientMessageId wait for one message. It is withdrawn when all its calls are aborted. */
  async send(fresh: NewMessage, signal?: AbortSignal): Promise<Message> {
    check(fresh);
    const lastEnd = this._lastEnd;
    await this._load();
    if (lastEnd !== this._lastEnd) throw this._lastEnd;
    if (signal?.aborted) throw aborted();
    let item = this._items.get(keyOf(fresh));
    if (!item) {
      if (this._items.size >= ITEMS)
        throw new OutboxFull(`${ITEMS} messages wait to be sent. Wait until some of them are sent.`);
      this._newest = Math.max(this._newest + 1, Date.now());
      item = this._add({ ...fresh, userId: this.user, queuedAt: this._newest });
      void this._changeStore("add", item.unsent);
      void this._sendWaiting(fresh.conversationId);
    }
    const { stored } = item;
    item.waiters++;
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        reject(aborted());
        if (--item.waiters === 0) this._fail(item, aborted(), false);
      };
      signal?.addEventListener("abort", abort, { once: true });
      void stored.then(resolve, reject).finally(() => signal?.removeEventListener("abort", abort));
    });
  }

  /** Send the waiting messages of this user over this socket. */
  async live(socket: Socket, user: string): Promise<void> {
    if (this.user && this.user !== user) this.end(anotherUser());
    this.user = user;
    this._socket = socket;
    await this._load();
    for (const id of new Set([...this._items.values()].map(({ unsent }) => unsent.conversationId))) void this._sendWaiting(id);
  }

  offline(): void {
    this._socket = undefined;
    this._sending.clear();
  }

  /** Reject all waiting promises. The store keeps the messages, so that a later run sends them. */
  end(error: EncerError): void {
    this._lastEnd = error;
    this.offline();
    for (const item of this._items.values()) {
      clearTimeout(item.timer);
      item.reject(error);
    }
    this._items.clear();
    this._loaded = undefined;
    this.user = "";
  }

  /** Delete the stored messages of a user. */
  async discard(user: string): Promise<void> {
    for (const unsent of (await this._stored()) ?? []) if (unsent.userId === user) await this._changeStore("remove", unsent);
  }

  /** Load the messages that an earlier run of the program did not send. Rejects with NotSignedIn. */
  private _load(): Promise<void> {
    return (this._loaded ??= this._fill().catch((error: unknown) => {
      this._loaded = undefined;
      throw error;
    }));
  }

  private async _fill(): Promise<void> {
    const lastEnd = this._lastEnd;
    const user = this.user || (await this._findUser());
    if (lastEnd !== this._lastEnd) return;
    if (!user) throw new NotSignedIn("You are not signed in. Please sign in first.");
    this.user ||= user;
    const stored = await this._stored();
    if (lastEnd !== this._lastEnd) return;
    for (const unsent of stored ?? [])
      if (unsent.userId === this.user && !this._items.has(keyOf(unsent)) && this._items.size < ITEMS) this._add(unsent);
    if (!stored) this._loaded = undefined; // a store that fails is asked again
  }

  private _add(unsent: Unsent): Item {
    const item = { unsent, waiters: 0, tries: 0 } as unknown as Item;
    item.stored = new Promise((resolve, reject) => Object.assign(item, { resolve, reject }));
    item.stored.catch(() => undefined); // the program may ignore the promise
    const late = `The message was not confirmed within ${this._wait / 1000} s. Send it again.`;
    item.timer = setTimeout(() => this._fail(item, new SendTimeout(late)), this._wait);
    this._items.set(keyOf(unsent), item);
    return item;
  }

  /** Send one message at a time, so that a message that must be sent again keeps its place. */
  private async _sendWaiting(conversationId: string): Promise<void> {
    const socket = this._socket;
    if (!socket || this._sending.get(conversationId) === socket) return;
    this._sending.set(conversationId, socket);
    try {
      for (;;) {
        const item = [...this._items.values()].find(({ unsent }) => unsent.conversationId === conversationId);
        if (!item || socket !== this._socket) break;
        await this._sendOne(socket, item);
      }
    } catch {
      // The socket closed. The message is sent again over the next one.
    } finally {
      if (this._sending.get(conversationId) === socket) this._sending.delete(conversationId);
    }
  }

  private async _sendOne(socket: Socket, item: Item): Promise<void> {
    const { userId: _, queuedAt: __, ...frame } = item.unsent;
    try {
      const { message } = await socket.ask("send_message", frame, (answer) => answer.message.id);
      this._remove(item);
      item.resolve(message);
      this._emit("sent", message);
    } catch (error) {
      if (error instanceof NotSignedIn || error instanceof Closed || !(error instanceof EncerError)) throw error;
      const isOver = error.code === "INTERNAL" && item.tries + 1 >= DEFECT_TRIES;
      if (isOver || !(error instanceof RateLimited || error instanceof Unavailable)) return this._fail(item, error);
      const pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** Math.min(item.tries++, 10)) * (0.5 + Math.random() / 2);
      await sleep(Math.min((error.retryAfter ?? 0) * 1000 || pause, this._wait), socket.signal);
    }
  }

  private _fail(item: Item, error: EncerError, report = true): void {
    if (this._items.get(keyOf(item.unsent)) !== item) return;
    this._remove(item);
    item.reject(error);
    if (report) this._emit("failed", { message: item.unsent, error });
  }

  private _remove(item: Item): void {
    clearTimeout(item.timer);
    if (this._items.get(keyOf(item.unsent)) === item) this._items.delete(keyOf(item.unsent));
    void this._changeStore("remove", item.unsent);
  }

  private async _changeStore(change: "add" | "remove", unsent: Unsent): Promise<void> {
    try {
      await this._store?.[change](unsent);
    } catch (error) {
      console.error("The outbox was not stored.", error); // it must not stop messages from being sent
    }
  }

  private async _stored(): Promise<Unsent[] | undefined> {
    try {
      return ((await this._store?.load()) ?? []).filter(
        (unsent) => isUnsent(unsent) || console.error("An entry of the stored outbox is not a message, so it is not sent."),
      );
    } catch (error) {
      console.error("The stored outbox is unreadable; its messages are not sent.", error);
      return undefined;
    }
  }
}

const isUnsent = (unsent?: Unsent): boolean =>
  [unsent?.userId, unsent?.conversationId, unsent?.clientMessageId, unsent?.content, unsent?.messageType].every(
    (text) => typeof text === "string",
  );

export const anotherUser = (): Closed => new Closed("Another user has signed in. A stored message waits for its author.");

const aborted = (): Aborted => new Aborted("The message was withdrawn. If it was being sent, it may have been stored.");

const keyOf = ({ conversationId, clientMessageId }: NewMessage): string => `${conversationId} ${clientMessageId}`;

/** Refuse a message that the server would refuse, before it waits for a connection. */
function check({ content, clientMessageId, fileUrl }: NewMessage): void {
  if ([...content].length > MAX_CONTENT)
    throw new TooLarge(`The message has more than ${MAX_CONTENT} characters. Send a shorter one, or several.`, {
      code: "VALIDATION_ERROR",
      details: [{ field: "content", message: `at most ${MAX_CONTENT} characters` }],
    });
  if (clientMessageId.length > 64 || (fileUrl?.length ?? 0) > 2000)
    throw new TooLarge("The client message id has more than 64 characters, or the file's URL more than 2,000. Shorten it.");
}
