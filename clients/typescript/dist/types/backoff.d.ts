import { type EncerError } from "./errors.js";
export declare const FIRST_PAUSE = 500;
export declare const LONGEST_GOODBYE = 60000;
export declare const FIRST_ATTEMPTS = 10;
export declare const SLOW_ATTEMPTS = 20;
export declare const REFUSED_TOKENS = 3;
/** Counts failures. `after` returns milliseconds to wait, or throws the error that ends the client. */
export declare class Backoff {
    private _chance;
    private _firstPause;
    private _failures;
    private _slow;
    private _refusals;
    private _growth;
    private _wasLive;
    /** Whether the pause must pass in full, also if the program wakes the client. */
    isDue: boolean;
    /** `chance` is the jitter, so that clients do not reconnect at the same moment. */
    constructor(_chance?: () => number, _firstPause?: number);
    /** A connection is live, and all conversations are joined: the address is correct. */
    live(): void;
    /** `code` is undefined if the connection could not be opened; then `error` is the cause. `lived`: for how long it was live.
     * A server that closes each connection soon is not tried forever: only a steady connection resets the counts. */
    after(code?: number, error?: EncerError, reconnectAfter?: number, lived?: number): number;
}
