// Typing: repeated while keys are pressed, ended after a pause. Typing of others ends without a repetition.

const REPEAT = 3_000; // the server ends typing after six seconds
const PAUSE = 5_000; // after the last key
const EXPIRY = 7_000; // without a repetition for this time, another user's typing has ended
const TYPISTS = 100; // of one conversation; it has two participants today

export class Typing {
  private _sentAt = -REPEAT;
  private _ending: ReturnType<typeof setTimeout> | undefined;
  private _others = new Map<string, ReturnType<typeof setTimeout>>();

  constructor(private _send: (event: string) => boolean, private _emit: (userId: string, typing: boolean) => void) {}

  key(): void {
    const now = performance.now();
    if (now - this._sentAt >= REPEAT && this._send("typing_start")) this._sentAt = now;
    clearTimeout(this._ending);
    this._ending = setTimeout(() => this.stop(), PAUSE);
  }

  stop(): void {
    if (this._ending === undefined) return;
    this.sent();
    this._send("typing_stop");
  }

  /** A message ends its sender's typing on the server too. */
  sent(): void {
    clearTimeout(this._ending);
    this._ending = undefined;
    this._sentAt = -REPEAT;
  }

  receive(userId: string, typing: boolean): void {
    const timer = this._others.get(userId);
    clearTimeout(timer);
    this._others.delete(userId);
    if (typing && this._others.size < TYPISTS)
      this._others.set(userId, setTimeout(() => this.receive(userId, false), EXPIRY));
    if (typing !== (timer !== undefined)) this._emit(userId, typing);
  }

  offline(): void {
    this.sent();
    for (const userId of [...this._others.keys()]) this.receive(userId, false);
  }
}
