import { Closed, type EncerError, OriginRefused } from "./errors.js";
import { Session, type TokenStore } from "./tokens.js";
import type { Attachment } from "./types.js";
export declare const SERVER_MAJOR = 0;
export interface CallOptions {
    body?: unknown;
    params?: Record<string, string | number | boolean>;
    /** Milliseconds for an answer, 10,000 by default; connecting a social account may take 100,000. */
    timeout?: number;
    signal?: AbortSignal | undefined;
}
export interface UploadOptions {
    name?: string;
    onProgress?: (sent: number) => void;
    signal?: AbortSignal;
}
interface Request {
    json?: unknown;
    form?: FormData;
    token?: string;
    timeout?: number;
    signal?: AbortSignal | undefined;
    onProgress?: ((sent: number) => void) | undefined;
}
export type Json = any;
export declare class Rest {
    readonly base: string;
    readonly session: Session;
    closed: boolean;
    constructor(base: string, store: TokenStore);
    /** Return the JSON of an answer of `/api/v1`. Calls that may be repeated are tried up to four times. */
    call(method: string, path: string, { body, params, signal, timeout }?: CallOptions): Promise<Json>;
    upload(conversationId: string, file: Blob, options: UploadOptions): Promise<Attachment>;
    /** Sign in, store the tokens, call `done` with the id of the user, and return the user. */
    signIn(email: string, password: string, done: (id: string) => void): Promise<Json>;
    /** Return the server's version. Throws WrongServer, WrongVersion or OriginRefused. */
    checkServer(): Promise<string>;
    refusedOrigin(): OriginRefused;
    /** Return whether a server answers. A browser reports a hidden answer of another origin like a missing one. */
    private _answersOthers;
    private _signed;
    /** Return an access token, within the time and the signal of a request. A refresh continues without it. */
    token({ signal, timeout }: Request, refused?: string): Promise<string>;
    /** Refresh the tokens. Retry at once without an answer: the server accepts the same token for ten more seconds. */
    private _refresh;
    send(method: string, path: string, request?: Request): Promise<Json>;
    private _read;
}
/** Return the `data` of an answer. Throws WrongServer if it is not an object. */
export declare function dataOf(answer: Json, base: string): Json;
export declare const closed: () => Closed;
/** Return the typed error of a failed connection: the certificate, or the network. */
export declare function explain(error: unknown, base: string): EncerError;
export {};
