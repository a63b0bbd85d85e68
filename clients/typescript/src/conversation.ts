// One joined conversation: resume without a gap, each change once, typing, read marks.

import { Emitter, sleep } from "./emitter.js";
import { Closed, EncerError, notHere, NotSignedIn, RateLimited, Unavailable } from "./errors.js";
import type { Encer } from "./encer.js";
import { dataOf, type Json, type UploadOptions } from "./rest.js";
import { checkNumbers, type Socket } from "./socket.js";
import type { Attachment, Deletion, Message, Read } from "./types.js";
import { Typing } from "./typing.js";

const RECENT = 50; // messages to begin with, if the program gives no rev
const PAGE = 100;
const REFETCH_MESSAGES = 10_000; // fetched by REST after a long absence, in 100 calls; `gap` reports the older ones
const ROUNDS = 5; // of fetching and joining; then the connection is closed: the conversation changes too fast for this client
const JOIN = 30_000; // a replay of 500 messages over a slow network
const READ_PAUSE = 250; // between read marks, so that they do not flood the socket
const READ_TRIES = 10; // while the server is not ready: about two minutes; then the next join or `read` sends the mark
const READ_RETRY = 500;
const LONGEST_READ_RETRY = 30_000;
const CHANGES: Record<string, Change> = { message_sent: "message", message_edited: "edited", message_deleted: "deleted" };

type Change = "message" | "edited" | "deleted";

export interface ConversationEvents {
  message: Message;
  edited: Message;
  deleted: Deletion;
  read: Read;
  typing: { conversationId: string; userId: string; typing: boolean };
  unread: { count: number };
  joined: { rev: number };
  gap: { after: number; before: number };
  closed: { conversationId: string; reason: string };
  error: EncerError;
}

export interface Cancellable {
  signal?: AbortSignal | undefined;
}

export interface SendOptions extends Cancellable {
  attachment?: Attachment;
  clientMessageId?: string;
}

export class Conversation extends Emitter<ConversationEvents> {
  /** Every change up to this one was emitted. */
  rev: number;
  /** The seq of the oldest message that was emitted, and of the newest one. */
  firstSeq: number | undefined;
  lastSeq = 0;
  unread = 0;
  /** By user: the seq up to which they have read. */
  readonly readBy = new Map<string, number>();
  /** Whether the participants are no longer connected. */
  closed = false;
  private _started: boolean;
  private _holdsOlder: boolean; // whether the program may have messages that this object did not emit
  private _ahead = new Map<number, number>(); // seq -> rev of what a refetch emitted, until the next join
  private _holding = true; // whether events are ignored, because a refetch or a new join will deliver them
  private _resyncWaits = false;
  private _resuming: Promise<unknown> = Promise.resolve();
  private _wantedRead = 0;
  private _sentRead = 0;
  private _reading: Socket | undefined;
  private _left = false;
  private _replaced: EncerError | undefined; // the reason, after another user has signed in
  private _typist: Typing;

  constructor(private encer: Encer, readonly id: string, after?: number) {
    super();
    this.rev = after ?? 0;
    this._started = this._holdsOlder = after !== undefined;
    this._typist = new Typing(
      (event) => encer.sendFrame(event, id),
      (userId, typing) => this.emit("typing", { conversationId: id, userId, typing }),
    );
  }

  /** Send a message; resolves with the message as stored. Waits while offline; abort `signal` to withdraw it. */
  async send(content = "", { attachment, clientMessageId, signal }: SendOptions = {}): Promise<Message> {
    this._checkUser();
    this._typist.sent();
    const unsent = {
      conversationId: this.id,
      clientMessageId: clientMessageId ?? newId(),
      content,
      messageType: attachment?.messageType ?? "TEXT",
      fileUrl: attachment?.fileUrl,
    };
    return this.encer.outbox.send(unsent, signal);
  }

  /** Change the text of a message of this user. */
  async edit(messageId: string, content: string, { signal }: Cancellable = {}): Promise<Message> {
    this._checkUser();
    const answer = await this.encer.call("PATCH", `/chat/messages/${messageId}`, { body: { content }, signal });
    return dataOf(answer, this.encer.rest.base);
  }

  /** Delete a message of this user; a placeholder stays. */
  async delete(messageId: string, { signal }: Cancellable = {}): Promise<void> {
    this._checkUser();
    await this.encer.call("DELETE", `/chat/messages/${messageId}`, { signal });
  }

  /** Upload a picture or PDF for `send("", {attachment})`. */
  async upload(file: Blob, options: UploadOptions = {}): Promise<Attachment> {
    this._checkUser();
    return this.encer.rest.upload(this.id, file, options);
  }

  /** Return messages older than `before` (a seq), oldest first, without marking them as read. */
  async history(before?: number, limit = RECENT, { signal }: Cancellable = {}): Promise<Message[]> {
    this._checkUser();
    const { data } = await this._fetch({ limit, ...(before === undefined ? {} : { before }) }, signal);
    if (data[0] && this.firstSeq !== undefined) this.firstSeq = Math.min(this.firstSeq, data[0].seq);
    return data;
  }

  /** Mark messages up to `seq` (default: all that were emitted) as read, now or when connected. */
  read(seq = this.lastSeq): void {
    this._wantedRead = Math.max(this._wantedRead, seq);
    void this._flushRead();
  }

  /** Call it at each key press: others see typing until `stopTyping`, or five seconds after the last call. */
  typing(): void {
    if (!this._left) this._typist.key();
  }

  stopTyping(): void {
    this._typist.stop();
  }

  /** End it, because its user has signed out of this client: another user may not be a participant. */
  end(error: EncerError): void {
    this.offline();
    this._replaced = error;
    this.emit("error", error);
    this._left = true;
  }

  /** Refuse what would be done as the user who has signed in since. */
  private _checkUser(): void {
    this.encer.checkOpen();
    if (this._replaced) throw this._replaced;
  }

  /** Leave the conversation: from now on it emits nothing. */
  leave(): Promise<void> {
    this._left = true;
    this.offline();
    return this.encer.removeConversation(this);
  }

  override emit<Name extends keyof ConversationEvents>(name: Name, data: ConversationEvents[Name]): void {
    if (!this._left) super.emit(name, data); // a fetch or a join may still be running
  }

  // -- joining ----------------------------------------------------------------------------------------------------------

  private async _fetch(params: Record<string, number>, signal?: AbortSignal): Promise<Json> {
    const path = `/chat/conversations/${this.id}/messages`;
    const page = await this.encer.call("GET", path, { params: { peek: true, ...params }, signal });
    const isRow = (row: Json) => Number.isInteger(row?.seq) && Number.isInteger(row.rev);
    if (!Array.isArray(page?.data) || !page.data.every(isRow) || !page.pageInfo) throw notHere(this.encer.rest.base);
    return page;
  }

  /** Join from the last known rev, and fetch changes that a replay does not contain. `again`: it is joined already. */
  resume(socket: Socket, again = false): Promise<void> {
    const work = this._resuming.then(() => this._join(socket, again));
    this._resuming = work.catch(() => undefined);
    return work;
  }

  private async _join(socket: Socket, again: boolean): Promise<void> {
    if (socket.signal.aborted) throw new Closed("The socket is closed.");
    if (this._left) return; // a newer object may have joined the conversation, so that this one must not leave it
    this._holding = this._resyncWaits = again;
    if (again) {
      await socket.ask("leave_conversation", { conversationId: this.id });
      this._holding = this._resyncWaits = false;
    }
    if (!this._started) await this._start();
    for (let round = 0; round < ROUNDS; round++) {
      if (this._left) return;
      const data = { conversationId: this.id, after: this.rev };
      const ack = await socket.ask("join_conversation", data, (ack) => this._joined(ack), JOIN);
      if (ack.complete) {
        this.emit("joined", { rev: this.rev });
        return void this._flushRead();
      }
      await this._refetch(socket, ack.lastRev);
      if (this._left) return;
      await socket.ask("leave_conversation", { conversationId: this.id });
      this._holding = false;
    }
    throw new Unavailable("The conversation changes faster than it can be fetched. Connect again later.");
  }

  /** Handle the answer to a join, before any live event. Without a replay, live events wait for the refetch. */
  private _joined({ complete, lastRev }: Json): void {
    this._holding = !complete;
    if (!complete) return checkNumbers(lastRev);
    this.closed = false;
    this._advance(lastRev);
    this._ahead.clear(); // the replay has ended, so every later `message_sent` is new
  }

  resync(socket: Socket): void {
    if (this._resyncWaits) return; // a waiting one covers this one too
    this._resyncWaits = this._holding = true;
    this.encer.supervise(socket, this.resume(socket, true));
  }

  /** Begin with the newest messages; all later changes have a higher rev than they have. */
  private async _start(): Promise<void> {
    for (const message of (await this._fetch({ limit: RECENT })).data) this._emitFetched(message, 0);
    this.rev = Math.max(0, ...this._ahead.values());
    this._ahead.clear();
    this._started = true;
  }

  /** Fetch the messages and emit the changes since `rev`; afterwards `lastRev` is covered. */
  private async _refetch(socket: Socket, lastRev: number): Promise<void> {
    let known = this.rev;
    if (lastRev < known) {
      known = 0; // the database was restored: treat all messages as changed
      this._ahead.clear();
    }
    const oldest = this._holdsOlder ? 1 : (this.firstSeq ?? 1);
    let after = Math.max(oldest - 1, lastRev - REFETCH_MESSAGES);
    // The older messages are not fetched: they may be new, edited or deleted.
    if (after >= oldest) this.emit("gap", { after: oldest - 1, before: after + 1 });
    for (let more = true; more && !this._left; ) {
      const { data, pageInfo } = await this._fetch({ limit: PAGE, after });
      if (socket.signal.aborted) throw new Closed("The socket is closed."); // the next one may be joining already
      if (data.some((row: Message) => row.seq <= after)) throw notHere(this.encer.rest.base); // the next page would be the same
      for (const message of data) this._emitFetched(message, known);
      more = pageInfo.hasMore && data.length > 0;
      after = data.at(-1)?.seq ?? after;
    }
    this.rev = known;
    this._advance(lastRev);
  }

  // -- events -----------------------------------------------------------------------------------------------------------

  /** Handle an event of the socket. */
  receive(name: string, data: Json): void {
    const change = CHANGES[name];
    if (change) {
      if (!this._holding) this._change(change, data);
    } else if (name === "message_read") this.receiveRead(data);
    else if (name === "user_typing" || name === "user_stopped_typing")
      this._typist.receive(data.userId, name === "user_typing");
    else if (name === "conversation_closed" && !this.closed) {
      this.closed = true;
      this.emit("closed", data);
    }
  }

  receiveRead(data: Read): void {
    checkNumbers(data.seq);
    if (data.seq <= (this.readBy.get(data.userId) ?? 0)) return;
    this.readBy.set(data.userId, data.seq);
    this.emit("read", data);
  }

  private _change(change: Change, data: Json): void {
    const { seq, rev } = data;
    if (rev <= this.rev) return;
    const fetched = this._ahead.get(seq) ?? 0;
    checkNumbers(seq);
    this._advance(rev);
    if (rev <= fetched) return;
    // A replay sends a message as new if it was deleted before this client received it.
    if (data.isDeleted) this._emitChange("deleted", seq, deletionOf(data));
    else this._emitChange(change === "message" && fetched ? "edited" : change, seq, data);
  }

  private _advance(rev: number): void {
    checkNumbers(rev);
    this.rev = Math.max(this.rev, rev);
  }

  private _emitFetched(message: Message, known: number): void {
    const { seq, rev } = message;
    if (rev <= known || rev <= (this._ahead.get(seq) ?? 0)) return;
    const wasEmitted = seq <= known || this._ahead.has(seq);
    this._ahead.set(seq, rev);
    if (message.isDeleted) this._emitChange("deleted", seq, deletionOf(message));
    else this._emitChange(wasEmitted ? "edited" : "message", seq, message);
  }

  private _emitChange(name: Change, seq: number, data: Json): void {
    if (name === "message") {
      this.firstSeq = Math.min(this.firstSeq ?? seq, seq);
      this._typist.receive(data.senderId, false);
    }
    this.lastSeq = Math.max(this.lastSeq, seq);
    this.emit(name, data);
  }

  // -- the connection ---------------------------------------------------------------------------------------------------

  offline(): void {
    this._typist.offline();
  }

  private async _flushRead(): Promise<void> {
    const { socket } = this.encer;
    if (!socket || this._reading === socket || this._left) return;
    this._reading = socket;
    try {
      for (let tries = 0; this._wantedRead > this._sentRead && tries < READ_TRIES; ) {
        const seq = this._wantedRead;
        try {
          await socket.ask("mark_read", { conversationId: this.id, seq }, ({ unreadCount }) => this.encer.unread.set(this.id, unreadCount));
          tries = 0;
          this._sentRead = seq;
          await sleep(READ_PAUSE, socket.signal);
        } catch (error) {
          if (!(error instanceof RateLimited || error instanceof Unavailable)) throw error;
          const pause = READ_RETRY * 2 ** tries++ * (0.5 + Math.random() / 2); // a mark may be repeated
          await sleep(Math.min((error.retryAfter ?? 0) * 1000 || pause, LONGEST_READ_RETRY), socket.signal);
        }
        if (this._left) return;
      }
    } catch (error) {
      if (error instanceof Closed || error instanceof NotSignedIn) return; // sent after the next join
      this._sentRead = this._wantedRead; // refused: not sent again
      if (error instanceof EncerError) this.emit("error", error);
    } finally {
      if (this._reading === socket) this._reading = undefined;
    }
  }
}

const deletionOf = ({ id, conversationId, seq, rev }: Message): Deletion => ({ messageId: id, conversationId, seq, rev });

/** Return a UUID, also on pages without https, where crypto.randomUUID is missing. */
function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
