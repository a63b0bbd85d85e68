// Messages that wait to be sent: bounded, in order per conversation, each stored once.

import { sleep } from "./emitter.js";
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
const WAIT = 3_600_000; // how long a message waits at most
const MAX_CONTENT = 5_000;
const TRIES = 10; // after answers such as NOT_READY
const LONGEST_WAIT = 60_000; // for a rate limit

/** A message that waits, as the persistence hook stores it. */
export interface Unsent {
  conversationId: string;
  clientMessageId: string;
  content: string;
  messageType: string;
  fileUrl?: string | undefined;
}

/** The persistence hook: it receives all waiting messages at each change, and returns them at the start. */
export interface OutboxStore {
  load(): Unsent[] | Promise<Unsent[]>;
  save(items: Unsent[]): void | Promise<void>;
}

/** An outbox that survives a reload of the page. Use one key per tab or user. */
export class BrowserOutbox implements OutboxStore {
  constructor(private key = "encer.outbox", private storage: Storage = localStorage) {}
  load(): Unsent[] {
    return JSON.parse(this.storage.getItem(this.key) ?? "[]") as Unsent[];
  }
  save(items: Unsent[]): void {
    this.storage.setItem(this.key, JSON.stringify(items));
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
  deadline: number;
  timer: ReturnType<typeof setTimeout>;
  tries: number;
}

export class Outbox {
  private items = new Map<string, Item>(); // by clientMessageId, oldest first
  private socket: Socket | undefined;
  private sending = new Map<string, Socket>(); // by conversation
  private loaded: Promise<void> | undefined;

  constructor(
    private emit: <Name extends keyof OutboxEvents>(name: Name, data: OutboxEvents[Name]) => void,
    private store?: OutboxStore,
    private wait = WAIT,
  ) {}

  /** Load the messages that an earlier run of the program did not send. */
  load(): Promise<void> {
    return (this.loaded ??= (async () => {
      for (const unsent of (await this.stored()).slice(0, ITEMS))
        if (!this.items.has(unsent.clientMessageId)) this.add(unsent);
    })());
  }

  /** Queue a message; resolves with the message as it was stored. Aborting removes it from the queue. */
  async send(unsent: Unsent, signal?: AbortSignal): Promise<Message> {
    check(unsent);
    if (this.store) await this.load();
    if (signal?.aborted) throw aborted();
    const waiting = this.items.get(unsent.clientMessageId);
    if (waiting) return waiting.stored;
    if (this.items.size >= ITEMS)
      throw new OutboxFull(`${ITEMS} messages wait to be sent. Wait until some of them are sent.`);
    const item = this.add(unsent);
    const abort = (): void => this.fail(item, aborted(), false);
    signal?.addEventListener("abort", abort, { once: true });
    this.save();
    void this.sendWaiting(unsent.conversationId);
    return item.stored.finally(() => signal?.removeEventListener("abort", abort));
  }

  /** Send the waiting messages over this socket. */
  async live(socket: Socket): Promise<void> {
    this.socket = socket;
    await this.load();
    for (const id of new Set([...this.items.values()].map(({ unsent }) => unsent.conversationId))) void this.sendWaiting(id);
  }

  offline(): void {
    this.socket = undefined;
    this.sending.clear();
  }

  /** Reject all waiting promises. The stored list stays, so that a later run sends the messages. */
  end(error: EncerError): void {
    this.offline();
    for (const item of this.items.values()) {
      clearTimeout(item.timer);
      item.reject(error);
    }
    this.items.clear();
    this.loaded = undefined;
  }

  /** Delete the stored list, so that the next user of this device does not send it. */
  discard(): void {
    this.items.clear();
    this.save();
  }

  private add(unsent: Unsent): Item {
    const item = { unsent, tries: 0, deadline: Date.now() + this.wait } as Item;
    item.stored = new Promise((resolve, reject) => Object.assign(item, { resolve, reject }));
    item.stored.catch(() => undefined); // the program may ignore the promise
    const late = `The message was not confirmed within ${this.wait / 1000} s. Send it again.`;
    item.timer = setTimeout(() => this.fail(item, new SendTimeout(late)), this.wait);
    this.items.set(unsent.clientMessageId, item);
    return item;
  }

  /** Send one message at a time, so that a message that must be sent again keeps its place. */
  private async sendWaiting(conversationId: string): Promise<void> {
    const { socket } = this;
    if (!socket || this.sending.get(conversationId) === socket) return;
    this.sending.set(conversationId, socket);
    try {
      for (;;) {
        const item = [...this.items.values()].find(({ unsent }) => unsent.conversationId === conversationId);
        if (!item || socket !== this.socket) break;
        await this.sendOne(socket, item);
      }
    } catch {
      // The socket closed. The message is sent again over the next one.
    } finally {
      if (this.sending.get(conversationId) === socket) this.sending.delete(conversationId);
    }
  }

  private async sendOne(socket: Socket, item: Item): Promise<void> {
    try {
      const { message } = await socket.ask("send_message", item.unsent);
      this.remove(item);
      item.resolve(message);
      this.emit("sent", message);
    } catch (error) {
      if (error instanceof NotSignedIn || error instanceof Closed || !(error instanceof EncerError)) throw error;
      if (!(error instanceof RateLimited || error instanceof Unavailable) || ++item.tries >= TRIES)
        return this.fail(item, error);
      await sleep(Math.min((error.retryAfter ?? 0.5 * item.tries) * 1000, LONGEST_WAIT), socket.signal);
    }
  }

  private fail(item: Item, error: EncerError, report = true): void {
    if (this.items.get(item.unsent.clientMessageId) !== item) return;
    this.remove(item);
    item.reject(error);
    if (report) this.emit("failed", { message: item.unsent, error });
  }

  private remove(item: Item): void {
    clearTimeout(item.timer);
    this.items.delete(item.unsent.clientMessageId);
    this.save();
  }

  private async stored(): Promise<Unsent[]> {
    try {
      return (await this.store?.load()) ?? [];
    } catch (error) {
      console.error("The stored outbox is unreadable; its messages are not sent.", error);
      return [];
    }
  }

  private save(): void {
    const items = [...this.items.values()].map(({ unsent }) => unsent);
    // A store that fails must not stop messages from being sent.
    void (async () => this.store?.save(items))().catch((error) => console.error("The outbox was not stored.", error));
  }
}

const aborted = (): Aborted => new Aborted("The message was withdrawn. If it was being sent, it may have been stored.");

/** Refuse a message that the server would refuse, before it waits for a connection. */
function check({ content, clientMessageId, fileUrl }: Unsent): void {
  if ([...content].length > MAX_CONTENT)
    throw new TooLarge(`The message has more than ${MAX_CONTENT} characters. Send a shorter one, or several.`, {
      code: "VALIDATION_ERROR",
      details: [{ field: "content", message: `at most ${MAX_CONTENT} characters` }],
    });
  if (clientMessageId.length > 64 || (fileUrl?.length ?? 0) > 2000)
    throw new TooLarge("The client message id has more than 64 characters, or the file's URL more than 2,000. Shorten it.");
}
