import { Conversation } from "./conversation.js";
import { Emitter } from "./emitter.js";
import { EncerError } from "./errors.js";
import { Outbox, type OutboxEvents, type OutboxStore } from "./outbox.js";
import { type CallOptions, type Json, Rest } from "./rest.js";
import { Socket } from "./socket.js";
import { type TokenStore } from "./tokens.js";
import type { NotificationEvent, Presence, SignedInUser } from "./types.js";
import { Unread } from "./unread.js";
export type State = "connecting" | "live" | "offline" | "ended";
export interface EncerEvents extends OutboxEvents {
    state: State;
    notification: NotificationEvent;
    presence: Presence;
    unread: {
        notifications: number;
        messages: number;
    };
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
export declare class Encer extends Emitter<EncerEvents> {
    private _options;
    readonly rest: Rest;
    readonly outbox: Outbox;
    readonly unread: Unread;
    readonly conversations: Map<string, Conversation>;
    state: State;
    /** The last failure, or the reason why the client ended. */
    error: EncerError | undefined;
    userId: string;
    socket: Socket | undefined;
    private _backoff;
    private _checked;
    private _finished;
    private _running;
    private _woken;
    private _failure;
    private _refused;
    private _pendingFrames;
    private _switches;
    private _readyAt;
    private _leaving;
    private _listing;
    private _unlisten;
    /** Throws WrongServer if `base` is not a URL. */
    constructor(base: string, _options?: EncerOptions);
    /** Sign in, store the tokens and return the user. The conversations of a former user end; messages of a former user
     * wait until that user signs in. */
    signIn(email: string, password: string): Promise<SignedInUser>;
    /** End the session on the server, delete the tokens and the unsent messages, and close. */
    signOut(): Promise<void>;
    /** Call the REST API: `await encer.call("GET", "/chat/contacts")` returns the answer's JSON. */
    call(method: string, path: string, options?: CallOptions): Promise<Json>;
    /** Join a conversation. It begins with the newest 50 messages, or with every change after rev `after`. */
    conversation(id: string, { after }?: {
        after?: number;
    }): Conversation;
    /** Connect, and reconnect until `close` or an error that a retry cannot solve. */
    connect(): void;
    /** Wait until the connection is live. Rejects with the error that ended it, or Unreachable after `timeout` ms. */
    live(timeout?: number): Promise<void>;
    /** Check the connection now. Browsers do so automatically when the page becomes visible or the network changes. */
    wake(): void;
    /** Close the connection. Later calls and waiting messages fail with Closed; a persisted outbox keeps the messages. */
    close(): void;
    /** Return the id of the user of the socket, else of the stored tokens, which other tabs may share. */
    private _findUser;
    checkOpen(): void;
    removeConversation(chat: Conversation): Promise<void>;
    /** Send a frame whose loss does not matter; false if there is no connection. */
    sendFrame(event: string, conversationId: string): boolean;
    /** Drop the socket if this fails; the next socket starts it again. */
    supervise(socket: Socket, work: Promise<unknown>): void;
    private _run;
    /** Connect and stay until the socket closes; return its code and the pause that the server requested. */
    private _connectOnce;
    /** Find out by REST why no socket opened, because a WebSocket does not give the reason. */
    private _diagnose;
    private _ready;
    /** Sign in again over the same socket before the token expires. */
    private _renew;
    private _joinAll;
    private _join;
    private _dispatch;
    private _emitUnread;
    private _watchBrowser;
    /** End what belongs to a former user. */
    private _replaceUser;
    private _dropSocket;
    private _set;
    private _end;
}
