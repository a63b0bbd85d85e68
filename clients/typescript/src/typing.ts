// Typing: repeated while keys are pressed, ended after a pause. Typing of others ends without a repetition.

const REPEAT = 3_000; // the server ends typing after six seconds
const PAUSE = 5_000; // after the last key
const EXPIRY = 7_000; // without a repetition for this time, another user's typing has ended
const TYPISTS = 100; // of one conversation; it has two participants today

export class Typing {
  private sentAt = -REPEAT;
  private ending: ReturnType<typeof setTimeout> | undefined;
  private others = new Map<string, ReturnType<typeof setTimeout>>();

  constructor(private send: (event: string) => boolean, private emit: (userId: string, typing: boolean) => void) {}

  key(): void {
    const now = performance.now();
    if (now - this.sentAt >= REPEAT && this.send("typing_start")) this.sentAt = now;
    clearTimeout(this.ending);
    this.ending = setTimeout(() => this.stop(), PAUSE);
  }

  stop(): void {
    if (this.ending === undefined) return;
    this.sent();
    this.send("typing_stop");
  }

  /** A message ends its sender's typing on the server too. */
  sent(): void {
    clearTimeout(this.ending);
    this.ending = undefined;
    this.sentAt = -REPEAT;
  }

  receive(userId: string, typing: boolean): void {
    const timer = this.others.get(userId);
    clearTimeout(timer);
    this.others.delete(userId);
    if (typing && this.others.size < TYPISTS)
      this.others.set(userId, setTimeout(() => this.receive(userId, false), EXPIRY));
    if (typing !== (timer !== undefined)) this.emit(userId, typing);
  }

  offline(): void {
    this.sent();
    for (const userId of [...this.others.keys()]) this.receive(userId, false);
  }
}
