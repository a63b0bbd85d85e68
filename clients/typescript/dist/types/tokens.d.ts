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
    private tokens;
    constructor(tokens?: Tokens | null);
    load(): Tokens | null;
    save(tokens: Tokens | null): void;
}
/** Tokens that all tabs of an origin share. Every script of the origin can read them. */
export declare class BrowserTokens implements TokenStore {
    private key;
    private storage;
    constructor(key?: string, storage?: Storage);
    load(): Tokens | null;
    save(tokens: Tokens | null): void;
}
interface Pair extends Tokens {
    expiresIn: number;
}
/** The tokens of one user. Concurrent callers share one refresh, in the browser those of all tabs. */
export declare class Session {
    readonly store: TokenStore;
    private base;
    private refresh;
    private turn;
    private newest;
    constructor(store: TokenStore, base: string, refresh: (token: string) => Promise<Pair>);
    /** Return an access token that stays valid for a while; a new one if `refused` is the current one. */
    token(refused?: string): Promise<string>;
    private alone;
    private find;
    /** Return the id of the user whose tokens are stored; "" without tokens. */
    userId(): Promise<string>;
    /** Store the tokens of a sign-in or refresh. Rejects with WrongServer if these are not tokens. */
    keep(pair: Pair): Promise<void>;
    secondsToRenewal(token: string, expiresAt?: number): number;
}
export {};
