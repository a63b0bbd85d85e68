import { Closed, EncerError } from "./errors.js";
import type { Socket } from "./socket.js";
import type { Message } from "./types.js";
export declare const ITEMS = 200;
export interface NewMessage {
    conversationId: string;
    clientMessageId: string;
    content: string;
    messageType: string;
    fileUrl?: string | undefined;
}
/** A message that waits, as the persistence hook stores it. */
export interface Unsent extends NewMessage {
    userId: string;
    queuedAt: number;
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
export declare class BrowserOutbox implements OutboxStore {
    private _key;
    private _storage;
    constructor(_key?: string, _storage?: Storage);
    load(): Unsent[];
    /** Return the message of a key, or nothing if it is unreadable or another tab has sent it. */
    private _read;
    add(unsent: Unsent): void;
    remove(unsent: Unsent): void;
    private _keyOf;
}
export interface OutboxEvents {
    sent: Message;
    failed: {
        message: Unsent;
        error: EncerError;
    };
}
export declare class Outbox {
    private _emit;
    private _findUser;
    private _store?;
    private _wait;
    user: string;
    private _items;
    private _socket;
    private _sending;
    private _loaded;
    private _newest;
    private _lastEnd;
    /** `findUser` returns the id of the signed-in user, or "". */
    constructor(_emit: <Name extends keyof OutboxEvents>(name: Name, data: OutboxEvents[Name]) => void, _findUser: () => Promise<string>, _store?: OutboxStore | undefined, _wait?: number);
    /** Queue a message; resolves with the message as it was stored.
     * Two calls with one clientMessageId wait for one message. It is withdrawn when all its calls are aborted. */
    send(fresh: NewMessage, signal?: AbortSignal): Promise<Message>;
    /** Send the waiting messages of this user over this socket. */
    live(socket: Socket, user: string): Promise<void>;
    offline(): void;
    /** Reject all waiting promises. The store keeps the messages, so that a later run sends them. */
    end(error: EncerError): void;
    /** Delete the stored messages of a user. */
    discard(user: string): Promise<void>;
    /** Load the messages that an earlier run of the program did not send. Rejects with NotSignedIn. */
    private _load;
    private _fill;
    private _add;
    /** Send one message at a time, so that a message that must be sent again keeps its place. */
    private _sendWaiting;
    private _sendOne;
    private _fail;
    private _remove;
    private _changeStore;
    private _stored;
}
export declare const anotherUser: () => Closed;
