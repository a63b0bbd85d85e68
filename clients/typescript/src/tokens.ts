// Access and refresh tokens: where they are stored, and when they are renewed.

import { within } from "./emitter.js";
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
  constructor(private _tokens: Tokens | null = null) {}
  load(): Tokens | null {
    return this._tokens;
  }
  save(tokens: Tokens | null): void {
    this._tokens = tokens;
  }
}

/** Tokens that all tabs of an origin share. Every script of the origin can read them. */
export class BrowserTokens implements TokenStore {
  constructor(private _key = "encer.tokens", private _storage: Storage = localStorage) {}
  load(): Tokens | null {
    try {
      return JSON.parse(this._storage.getItem(this._key) ?? "null") as Tokens | null;
    } catch {
      return null; // without readable tokens the user signs in again
    }
  }
  save(tokens: Tokens | null): void {
    if (tokens) this._storage.setItem(this._key, JSON.stringify(tokens));
    else this._storage.removeItem(this._key);
  }
}

const SIGN_INS = 5; // during the refreshes of one call; with more, the program is at fault
const LOCK = 20_000; // that a tab waits for another one, which renews the tokens: longer than all tries take
const STORE = 10_000; // that the token store may take
const MARGIN = 30; // seconds; a token is renewed this long before it expires, or after two thirds of a shorter lifetime
const TOKEN = /^[\w.~+-]+$/;

interface Pair extends Tokens {
  expiresIn: number;
}

interface Claims {
  exp: number;
  iat: number;
  userId: string;
}

/** Return whether these are tokens, and the access token is valid in a header. */
const isPair = ({ accessToken, refreshToken }: Tokens): boolean =>
  typeof accessToken === "string" && TOKEN.test(accessToken) && typeof refreshToken === "string";

/** Return the claims of a JWT without checking its signature; claims that are missing or malformed are 0 or "". */
function claimsOf(token: string): Claims {
  let claims: Partial<Claims> | null = null;
  try {
    claims = JSON.parse(atob((token.split(".")[1] ?? "").replace(/-/g, "+").replace(/_/g, "/")));
  } catch {}
  const { exp, iat, userId } = claims ?? {};
  return { exp: Number(exp) || 0, iat: Number(iat) || 0, userId: typeof userId === "string" ? userId : "" };
}

/** The tokens of one user. Concurrent callers share one refresh, in the browser those of all tabs. */
export class Session {
  private _turn: Promise<unknown> = Promise.resolve();
  private _using: Promise<unknown> = Promise.resolve();
  // When the newest token expires, by this machine's monotonic clock, because its wall clock may be wrong.
  private _newest: [token: string, expires: number] = ["", 0];

  constructor(readonly store: TokenStore, private _base: string, private _refresh: (token: string) => Promise<Pair>) {}

  /** Return an access token that stays valid for a while; a new one if `refused` is the current one. */
  token(refused?: string): Promise<string> {
    const work = this._turn.then(() => this._alone(() => this._find(refused)));
    this._turn = work.catch(() => undefined);
    return work;
  }

  private _alone<T>(work: () => Promise<T>): Promise<T> {
    const locks = globalThis.navigator?.locks;
    if (!locks) return work();
    let has = false;
    const waiting = locks.request(`encer ${this._base}`, { signal: AbortSignal.timeout(LOCK) }, () => {
      has = true;
      return work();
    }) as Promise<T>;
    return waiting.catch((error: unknown) => {
      throw has ? error : new Unavailable("Another tab renews the tokens and does not end. Close it, or try again later.");
    });
  }

  /** Use the store alone, so that no other access comes between reading it and saving what depends on that. */
  private _use<T>(work: () => T | Promise<T>): Promise<T> {
    const late = () => new Unavailable("The token store does not answer. Try again later.");
    const done = this._using.then(() => within((async () => work())(), STORE, late));
    this._using = done.catch(() => undefined);
    return done;
  }

  private async _find(refused?: string): Promise<string> {
    for (let tries = SIGN_INS; tries--; ) {
      const tokens = await this._use(() => this.store.load());
      if (!tokens) throw new NotSignedIn("You are not signed in. Please sign in first.");
      if (!isPair(tokens)) throw new NotSignedIn("The stored token is malformed. Please sign in again.");
      if (tokens.accessToken !== refused && this.secondsToRenewal(tokens.accessToken, tokens.expiresAt) > 0) return tokens.accessToken;
      try {
        const renewed = await this._refresh(tokens.refreshToken);
        if (await this._replace(tokens, renewed)) return renewed.accessToken;
      } catch (error) {
        if (!(error instanceof NotSignedIn) || (await this._replace(tokens, null))) throw error;
      } // A sign-in or sign-out has replaced the tokens meanwhile, so the answer is of the former session.
    }
    throw new Unavailable("The stored tokens change too often. Try again in a moment.");
  }

  /** Store the tokens of a refresh, or delete those that it did not accept; return false if others are stored meanwhile. */
  private _replace({ refreshToken }: Tokens, pair: Pair | null): Promise<boolean> {
    return this._use(async () => {
      const holds = (await this.store.load())?.refreshToken === refreshToken;
      if (holds) await this._save(pair);
      return holds;
    });
  }

  /** Return the id of the user whose tokens are stored; "" without tokens. */
  userId(): Promise<string> {
    return this._use(async () => claimsOf((await this.store.load())?.accessToken ?? "").userId);
  }

  /** Store the tokens of a sign-in, or delete all; then call `done`, before anything reads the tokens.
   * Rejects with WrongServer if these are not tokens. */
  keep(pair: Pair | null, done?: () => void): Promise<void> {
    return this._use(() => this._save(pair).then(done));
  }

  private async _save(pair: Pair | null): Promise<void> {
    if (!pair) return this.store.save(null);
    const { accessToken, refreshToken, expiresIn } = pair;
    if (!isPair(pair) || !Number.isFinite(expiresIn)) throw notHere(this._base);
    this._newest = [accessToken, performance.now() / 1000 + expiresIn];
    await this.store.save({ accessToken, refreshToken, expiresAt: Date.now() + expiresIn * 1000 });
  }

  secondsToRenewal(token: string, expiresAt?: number): number {
    const { exp, iat } = claimsOf(token);
    const expires = expiresAt === undefined ? exp : expiresAt / 1000;
    const left = token === this._newest[0] ? this._newest[1] - performance.now() / 1000 : expires - Date.now() / 1000;
    return left - Math.min(MARGIN, (exp - iat) / 3 || 0);
  }
}
