import { type EncerError } from "./errors.js";
export declare const FIRST_PAUSE = 500;
export declare const LONGEST_GOODBYE = 60000;
export declare const FIRST_ATTEMPTS = 10;
export declare const SLOW_ATTEMPTS = 20;
export declare const REFUSED_TOKENS = 3;
/** Counts failures. `after` returns milliseconds to wait, or throws the error that ends the client. */
export declare class Backoff {
    private chance;
    private firstPause;
    private failures;
    private slow;
    private refusals;
    private wasLive;
    /** `chance` is the jitter, so that clients do not reconnect at the same moment. */
    constructor(chance?: () => number, firstPause?: number);
    /** Reset the counts: a connection is live, and all conversations are joined. */
    live(): void;
    /** `code` is undefined if the connection could not be opened; then `error` is the cause. */
    after(code?: number, error?: EncerError, reconnectAfter?: number, lived?: number): number;
}
