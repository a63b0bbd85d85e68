// Access and refresh tokens: where they are stored, and when they are renewed.

import { NotSignedIn, notHere, Unavailable } from "./errors.js";

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
export class MemoryTokens implements TokenStore {
  constructor(private tokens: Tokens | null = null) {}
  load(): Tokens | null {
    return this.tokens;
  }
  save(tokens: Tokens | null): void {
    this.tokens = tokens;
  }
}

/** Tokens that all tabs of an origin share. Every script of the origin can read them. */
export class BrowserTokens implements TokenStore {
  constructor(private key = "encer.tokens", private storage: Storage = localStorage) {}
  load(): Tokens | null {
    try {
      return JSON.parse(this.storage.getItem(this.key) ?? "null") as Tokens | null;
    } catch {
      return null; // without readable tokens the user signs in again
    }
  }
  save(tokens: Tokens | null): void {
    if (tokens) this.storage.setItem(this.key, JSON.stringify(tokens));
    else this.storage.removeItem(this.key);
  }
}

const SIGN_INS = 5; // during the refreshes of one call; with more, the program is at fault
const LOCK = 20_000; // that a tab waits for another one, which renews the tokens: longer than all tries take
const MARGIN = 30; // seconds; a token is renewed this long before it expires, or after two thirds of a shorter lifetime
const TOKEN = /^[\w.~+-]+$/;

interface Pair extends Tokens {
  expiresIn: number;
}

interface Claims {
  exp?: number;
  iat?: number;
  userId?: string;
}

/** Return whether these are tokens, and the access token is valid in a header. */
const isPair = ({ accessToken, refreshToken }: Tokens): boolean =>
  typeof accessToken === "string" && TOKEN.test(accessToken) && typeof refreshToken === "string";

function claimsOf(token: string): Claims {
  try {
    return JSON.parse(atob((token.split(".")[1] ?? "").replace(/-/g, "+").replace(/_/g, "/"))) as Claims;
  } catch {
    return {};
  }
}

/** The tokens of one user. Concurrent callers share one refresh, in the browser those of all tabs. */
export class Session {
  private turn: Promise<unknown> = Promise.resolve();
  // When the newest token expires, by this machine's monotonic clock, because its wall clock may be wrong.
  private newest: [token: string, expires: number] = ["", 0];

  constructor(readonly store: TokenStore, private base: string, private refresh: (token: string) => Promise<Pair>) {}

  /** Return an access token that stays valid for a while; a new one if `refused` is the current one. */
  token(refused?: string): Promise<string> {
    const work = this.turn.then(() => this.alone(() => this.find(refused)));
    this.turn = work.catch(() => undefined);
    return work;
  }

  private alone<T>(work: () => Promise<T>): Promise<T> {
    const locks = globalThis.navigator?.locks;
    if (!locks) return work();
    let has = false;
    const waiting = locks.request(`encer ${this.base}`, { signal: AbortSignal.timeout(LOCK) }, () => {
      has = true;
      return work();
    }) as Promise<T>;
    return waiting.catch((error: unknown) => {
      throw has ? error : new Unavailable("Another tab renews the tokens and does not end. Close it, or try again later.");
    });
  }

  private async find(refused?: string): Promise<string> {
    for (let tries = SIGN_INS; tries--; ) {
      const tokens = await this.store.load();
      if (!tokens) throw new NotSignedIn("You are not signed in. Please sign in first.");
      if (!isPair(tokens)) throw new NotSignedIn("The stored token is malformed. Please sign in again.");
      if (tokens.accessToken !== refused && this.secondsToRenewal(tokens.accessToken, tokens.expiresAt) > 0) return tokens.accessToken;
      const holds = async () => (await this.store.load())?.refreshToken === tokens.refreshToken;
      try {
        const renewed = await this.refresh(tokens.refreshToken);
        if (await holds()) {
          await this.keep(renewed);
          return renewed.accessToken;
        }
      } catch (error) {
        if (!(error instanceof NotSignedIn)) throw error;
        if (await holds()) {
          await this.store.save(null);
          throw error;
        }
      } // A sign-in or sign-out has replaced the tokens meanwhile, so the answer is of the former session.
    }
    throw new Unavailable("The stored tokens change too often. Try again in a moment.");
  }

  /** Return the id of the user whose tokens are stored; "" without tokens. */
  async userId(): Promise<string> {
    return claimsOf((await this.store.load())?.accessToken ?? "").userId ?? "";
  }

  /** Store the tokens of a sign-in or refresh. Rejects with WrongServer if these are not tokens. */
  async keep(pair: Pair): Promise<void> {
    const { accessToken, refreshToken, expiresIn } = pair;
    if (!isPair(pair) || !Number.isFinite(expiresIn)) throw notHere(this.base);
    this.newest = [accessToken, performance.now() / 1000 + expiresIn];
    await this.store.save({ accessToken, refreshToken, expiresAt: Date.now() + expiresIn * 1000 });
  }

  secondsToRenewal(token: string, expiresAt?: number): number {
    const { exp = 0, iat = 0 } = claimsOf(token);
    const expires = expiresAt === undefined ? exp : expiresAt / 1000;
    const left = token === this.newest[0] ? this.newest[1] - performance.now() / 1000 : expires - Date.now() / 1000;
    return left - Math.min(MARGIN, (exp - iat) / 3);
  }
}
