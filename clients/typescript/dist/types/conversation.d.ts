import { Emitter } from "./emitter.js";
import { EncerError } from "./errors.js";
import type { Encer } from "./encer.js";
import { type Json, type UploadOptions } from "./rest.js";
import { type Socket } from "./socket.js";
import type { Attachment, Deletion, Message, Read } from "./types.js";
export interface ConversationEvents {
    message: Message;
    edited: Message;
    deleted: Deletion;
    read: Read;
    typing: {
        conversationId: string;
        userId: string;
        typing: boolean;
    };
    unread: {
        count: number;
    };
    joined: {
        rev: number;
    };
    gap: {
        after: number;
        before: number;
    };
    closed: {
        conversationId: string;
        reason: string;
    };
    error: EncerError;
}
export interface Cancellable {
    signal?: AbortSignal | undefined;
}
export interface SendOptions extends Cancellable {
    attachment?: Attachment;
    clientMessageId?: string;
}
export declare class Conversation extends Emitter<ConversationEvents> {
    private encer;
    readonly id: string;
    /** Every change up to this one was emitted. */
    rev: number;
    /** The seq of the oldest message that was emitted, and of the newest one. */
    firstSeq: number | undefined;
    lastSeq: number;
    unread: number;
    /** By user: the seq up to which they have read. */
    readonly readBy: Map<string, number>;
    /** Whether the participants are no longer connected. */
    closed: boolean;
    private _started;
    private _holdsOlder;
    private _ahead;
    private _holding;
    private _resyncWaits;
    private _resuming;
    private _wantedRead;
    private _sentRead;
    private _reading;
    private _left;
    private _replaced;
    private _typist;
    constructor(encer: Encer, id: string, after?: number);
    /** Send a message; resolves with the message as stored. Waits while offline; abort `signal` to withdraw it. */
    send(content?: string, { attachment, clientMessageId, signal }?: SendOptions): Promise<Message>;
    /** Change the text of a message of this user. */
    edit(messageId: string, content: string, { signal }?: Cancellable): Promise<Message>;
    /** Delete a message of this user; a placeholder stays. */
    delete(messageId: string, { signal }?: Cancellable): Promise<void>;
    /** Upload a picture or PDF for `send("", {attachment})`. */
    upload(file: Blob, options?: UploadOptions): Promise<Attachment>;
    /** Return messages older than `before` (a seq), oldest first, without marking them as read. */
    history(before?: number, limit?: number, { signal }?: Cancellable): Promise<Message[]>;
    /** Mark messages up to `seq` (default: all that were emitted) as read, now or when connected. */
    read(seq?: number): void;
    /** Call it at each key press: others see typing until `stopTyping`, or five seconds after the last call. */
    typing(): void;
    stopTyping(): void;
    /** End it, because its user has signed out of this client: another user may not be a participant. */
    end(error: EncerError): void;
    /** Refuse what would be done as the user who has signed in since. */
    private _checkUser;
    /** Leave the conversation: from now on it emits nothing. */
    leave(): Promise<void>;
    emit<Name extends keyof ConversationEvents>(name: Name, data: ConversationEvents[Name]): void;
    private _fetch;
    /** Join from the last known rev, and fetch changes that a replay does not contain. `again`: it is joined already. */
    resume(socket: Socket, again?: boolean): Promise<void>;
    private _join;
    /** Handle the answer to a join, before any live event. Without a replay, live events wait for the refetch. */
    private _joined;
    resync(socket: Socket): void;
    /** Begin with the newest messages; all later changes have a higher rev than they have. */
    private _start;
    /** Fetch the messages and emit the changes since `rev`; afterwards `lastRev` is covered. */
    private _refetch;
    /** Handle an event of the socket. */
    receive(name: string, data: Json): void;
    receiveRead(data: Read): void;
    private _change;
    private _advance;
    private _emitFetched;
    private _emitChange;
    offline(): void;
    private _flushRead;
}
