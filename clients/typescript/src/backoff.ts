// Decide by the close code whether and when to connect again (docs/realtime.md). Has no side effects.

import { type EncerError, NotSignedIn, SessionEnded, TooMany, Unreachable, WrongServer } from "./errors.js";

export const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 30_000;
const SLOW_PAUSE = 5_000;
const LONGEST_SLOW_PAUSE = 60_000;
export const LONGEST_GOODBYE = 60_000; // of what `going_away` requests: other instances serve meanwhile, so a longer pause is a fault
export const FIRST_ATTEMPTS = 10; // before the first success: about two minutes, then the address is probably wrong
const LATER_ATTEMPTS = 2_880; // afterwards: about a day without a network
export const SLOW_ATTEMPTS = 20; // closes because of floods or slow reading, in a row
export const REFUSED_TOKENS = 3; // in a row, each newer than the one before
const STEADY = 60_000; // after a connection of this length, earlier failures no longer count

/** Counts failures. `after` returns milliseconds to wait, or throws the error that ends the client. */
export class Backoff {
  private _failures = 0;
  private _slow = 0;
  private _refusals = 0;
  private _growth = 0; // how often the pause has doubled
  private _wasLive = false;
  /** Whether the pause must pass in full, also if the program wakes the client. */
  isDue = false;

  /** `chance` is the jitter, so that clients do not reconnect at the same moment. */
  constructor(private _chance: () => number = Math.random, private _firstPause = FIRST_PAUSE) {}

  /** A connection is live, and all conversations are joined: the address is correct. */
  live(): void {
    this._wasLive = true;
  }

  /** `code` is undefined if the connection could not be opened; then `error` is the cause. `lived`: for how long it was live.
   * A server that closes each connection soon is not tried forever: only a steady connection resets the counts. */
  after(code?: number, error?: EncerError, reconnectAfter?: number, lived = 0): number {
    const jitter = 0.5 + this._chance() / 2;
    if (lived >= STEADY) this._failures = this._slow = this._refusals = 0;
    this.isDue = code === 4429 || code === 4508 || !!error?.retryAfter;
    if (code === 4403) throw new SessionEnded("Your session has ended. Please sign in again.");
    if (code === 4400)
      throw new WrongServer("The server refuses this client's protocol. Update the client.", { code: "PROTOCOL_ERROR" });
    if (code === 4401) {
      if (++this._refusals >= REFUSED_TOKENS)
        throw new NotSignedIn("The server has refused three tokens in a row. Please sign in again.", { code: "INVALID_TOKEN" });
      return this._refusals === 1 ? 0 : this._firstPause;
    }
    this._refusals = 0;
    if (code === 4429 || code === 4508) {
      if (++this._slow >= SLOW_ATTEMPTS)
        throw new TooMany("The server closes this client repeatedly. Send less or read faster, then connect again.");
      return Math.min(LONGEST_SLOW_PAUSE, SLOW_PAUSE * 2 ** (this._slow - 1)) * jitter;
    }
    if (++this._failures >= (this._wasLive ? LATER_ATTEMPTS : FIRST_ATTEMPTS))
      throw error ?? new Unreachable("The server does not answer. Check the network, then connect again.");
    if (code === 1001 && reconnectAfter !== undefined)
      return Math.min(Math.max(reconnectAfter, this._firstPause / 2), LONGEST_GOODBYE) * (0.5 + jitter);
    let pause = Math.min(LONGEST_PAUSE, this._firstPause * 2 ** this._growth);
    // A connection that lived for longer was of use, so that the next pause need not be longer.
    if (lived >= pause) [this._growth, pause] = [0, this._firstPause];
    this._growth = Math.min(this._growth + 1, 10);
    return Math.max(pause * jitter, Math.min((error?.retryAfter ?? 0) * 1000, LONGEST_SLOW_PAUSE));
  }
}
