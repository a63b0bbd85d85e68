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
  private failures = 0;
  private slow = 0;
  private refusals = 0;
  private growth = 0; // how often the pause has doubled
  private wasLive = false;
  /** Whether the pause must pass in full, also if the program wakes the client. */
  isDue = false;

  /** `chance` is the jitter, so that clients do not reconnect at the same moment. */
  constructor(private chance: () => number = Math.random, private firstPause = FIRST_PAUSE) {}

  /** A connection is live, and all conversations are joined: the address is correct. */
  live(): void {
    this.wasLive = true;
  }

  /** `code` is undefined if the connection could not be opened; then `error` is the cause. `lived`: for how long it was live.
   * A server that closes each connection soon is not tried forever: only a steady connection resets the counts. */
  after(code?: number, error?: EncerError, reconnectAfter?: number, lived = 0): number {
    const jitter = 0.5 + this.chance() / 2;
    if (lived >= STEADY) this.failures = this.slow = this.refusals = 0;
    this.isDue = code === 4429 || code === 4508 || !!error?.retryAfter;
    if (code === 4403) throw new SessionEnded("Your session has ended. Please sign in again.");
    if (code === 4400)
      throw new WrongServer("The server refuses this client's protocol. Update the client.", { code: "PROTOCOL_ERROR" });
    if (code === 4401) {
      if (++this.refusals >= REFUSED_TOKENS)
        throw new NotSignedIn("The server does not accept new tokens. Please sign in again.", { code: "INVALID_TOKEN" });
      return this.refusals === 1 ? 0 : this.firstPause;
    }
    this.refusals = 0;
    if (code === 4429 || code === 4508) {
      if (++this.slow >= SLOW_ATTEMPTS)
        throw new TooMany("The server closes this client repeatedly. Send less or read faster, then connect again.");
      return Math.min(LONGEST_SLOW_PAUSE, SLOW_PAUSE * 2 ** (this.slow - 1)) * jitter;
    }
    if (++this.failures >= (this.wasLive ? LATER_ATTEMPTS : FIRST_ATTEMPTS))
      throw error ?? new Unreachable("The server does not answer. Check the network, then connect again.");
    if (code === 1001 && reconnectAfter !== undefined)
      return Math.min(Math.max(reconnectAfter, this.firstPause / 2), LONGEST_GOODBYE) * (0.5 + jitter);
    let pause = Math.min(LONGEST_PAUSE, this.firstPause * 2 ** this.growth);
    // A connection that lived for longer was of use, so that the next pause need not be longer.
    if (lived >= pause) [this.growth, pause] = [0, this.firstPause];
    this.growth = Math.min(this.growth + 1, 10);
    return Math.max(pause * jitter, Math.min((error?.retryAfter ?? 0) * 1000, LONGEST_SLOW_PAUSE));
  }
}
