import type { EncerOptions } from "./encer.js";
import { type EncerError } from "./errors.js";
import type { Json } from "./rest.js";
export declare const OPEN = 5000;
export declare class Socket {
    private _ws;
    private _pace;
    private _numbers;
    private _answers;
    private _ended;
    readonly signal: AbortSignal;
    /** Resolves with the close code; undefined if the client dropped it or no server closed it. */
    readonly closed: Promise<number | undefined>;
    /** Why the client dropped it: the server sends frames of another protocol. */
    failure: EncerError | undefined;
    onEvent: (name: string, data: Json) => void;
    private constructor();
    /** Resolves with the socket and the data of `ready`, or with the close code of a refusal. */
    static open(base: string, token: string, options: EncerOptions, on: (socket: Socket, ready: Json) => void): Promise<Socket>;
    /** Handle a frame. One that is not as described ends the client. */
    private _receive;
    /** Send a command and return the data of its answer; `then` gets it before later events are handled.
     * Rejects with the server's error, or Closed. A socket that does not answer in time is dead, so it is dropped. */
    ask(event: string, data?: Json, then?: (data: Json) => void, timeout?: number): Promise<Json>;
    /** Send a frame. */
    send(event: string, data?: Json, id?: number): Promise<void>;
    /** Check that the server still answers; otherwise drop the socket. */
    ping(): Promise<Json>;
    /** Ping until the socket closes. */
    heartbeat(pause: number): Promise<void>;
    /** Close without waiting for the other side, which may be unreachable. */
    drop(): void;
    private _end;
}
/** Refuse a frame in which one of these is not a number. */
export declare function checkNumbers(...values: unknown[]): void;
