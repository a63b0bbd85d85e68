import { EncerError } from "./errors.js";
import type { Socket } from "./socket.js";
import type { Message } from "./types.js";
export declare const ITEMS = 200;
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
export declare class BrowserOutbox implements OutboxStore {
    private key;
    private storage;
    constructor(key?: string, storage?: Storage);
    load(): Unsent[];
    save(items: Unsent[]): void;
}
export interface OutboxEvents {
    sent: Message;
    failed: {
        message: Unsent;
        error: EncerError;
    };
}
export declare class Outbox {
    private emit;
    private store?;
    private wait;
    private items;
    private socket;
    private sending;
    private loaded;
    constructor(emit: <Name extends keyof OutboxEvents>(name: Name, data: OutboxEvents[Name]) => void, store?: OutboxStore | undefined, wait?: number);
    /** Load the messages that an earlier run of the program did not send. */
    load(): Promise<void>;
    /** Queue a message; resolves with the message as it was stored. Aborting removes it from the queue. */
    send(unsent: Unsent, signal?: AbortSignal): Promise<Message>;
    /** Send the waiting messages over this socket. */
    live(socket: Socket): Promise<void>;
    offline(): void;
    /** Reject all waiting promises. The stored list stays, so that a later run sends the messages. */
    end(error: EncerError): void;
    /** Delete the stored list, so that the next user of this device does not send it. */
    discard(): void;
    private add;
    /** Send one message at a time, so that a message that must be sent again keeps its place. */
    private sendWaiting;
    private sendOne;
    private fail;
    private remove;
    private stored;
    private save;
}
