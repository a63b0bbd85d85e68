export interface Tokens {
    accessToken: string;
    refreshToken: string;
    /** When the access token expires, in milliseconds by this machine's clock, which may differ from the server's. */
    expiresAt?: number;
}
export interface TokenStore {
    load(): Tokens | null | Promise<Tokens | null>;
    save(tokens: Tokens | null): void | Promise<void>;
}
/** Tokens that end with the page or program. */
export declare class MemoryTokens implements TokenStore {
    private _tokens;
    constructor(_tokens?: Tokens | null);
    load(): Tokens | null;
    save(tokens: Tokens | null): void;
}
/** Tokens that all tabs of an origin share. Every script of the origin can read them. */
export declare class BrowserTokens implements TokenStore {
    private _key;
    private _storage;
    constructor(_key?: string, _storage?: Storage);
    load(): Tokens | null;
    save(tokens: Tokens | null): void;
}
interface Pair extends Tokens {
    expiresIn: number;
}
/** The tokens of one user. Concurrent callers share one refresh, in the browser those of all tabs. */
export declare class Session {
    readonly store: TokenStore;
    private _base;
    private _refresh;
    private _turn;
    private _using;
    private _newest;
    constructor(store: TokenStore, _base: string, _refresh: (token: string) => Promise<Pair>);
    /** Return an access token that stays valid for a while; a new one if `refused` is the current one. */
    token(refused?: string): Promise<string>;
    private _alone;
    /** Use the store alone, so that no other access comes between reading it and saving what depends on that. */
    private _use;
    private _find;
    /** Store the tokens of a refresh, or delete those that it did not accept; return false if others are stored meanwhile. */
    private _replace;
    /** Return the id of the user whose tokens are stored; "" without tokens. */
    userId(): Promise<string>;
    /** Store the tokens of a sign-in, or delete all; then call `done`, before anything reads the tokens.
     * Rejects with WrongServer if these are not tokens. */
    keep(pair: Pair | null, done?: () => void): Promise<void>;
    private _save;
    secondsToRenewal(token: string, expiresAt?: number): number;
}
export {};
