// Read marks and unread counts of all conversations, which no join contains.

import { sleep } from "./emitter.js";
import type { Encer } from "./encer.js";
import { mayPass } from "./errors.js";

const PAUSE = 2_000; // between two listings
const LONGEST_PAUSE = 60_000; // for a Retry-After
const PAGES = 10;
const TRIES = 5;

/** Lists the conversations when asked; several requests during a listing lead to one more. */
export class Listing {
  private running = false;
  private isCurrent = false; // false if a change asks for another listing

  constructor(private encer: Encer) {}

  /** The chat continues if this fails. */
  async ask(): Promise<void> {
    this.isCurrent = false;
    if (this.running) return;
    this.running = true;
    for (let tries = TRIES; this.encer.socket && !this.isCurrent && tries > 0; ) {
      const { signal } = this.encer.socket;
      this.isCurrent = true;
      let pause = PAUSE;
      try {
        await this.listPages();
      } catch (error) {
        if (!mayPass(error)) break;
        this.isCurrent = false;
        tries--;
        pause = Math.min(Math.max(pause, (error.retryAfter ?? 0) * 1000), LONGEST_PAUSE);
      }
      await sleep(pause, signal).catch(() => undefined); // after a close, the next socket lists at once
    }
    this.running = false;
  }

  private async listPages(): Promise<void> {
    const counts = new Map<string, number>();
    for (let page = 0, cursor = ""; page < PAGES; page++) {
      const params = { limit: 100, ...(cursor ? { cursor } : {}) };
      const { data, pageInfo } = await this.encer.call("GET", "/chat/conversations", { params });
      for (const { id, unreadCount, participants } of data) {
        counts.set(id, unreadCount);
        const chat = this.encer.conversations.get(id);
        for (const { userId, lastReadSeq, lastReadAt } of chat ? participants : [])
          chat!.receiveRead({ conversationId: id, userId, seq: lastReadSeq, readAt: lastReadAt });
      }
      cursor = pageInfo.nextCursor;
      if (!cursor) return this.encer.unread.listed(counts);
    }
  }
}
