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
  private _running = false;
  private _isCurrent = false; // false if a change asks for another listing

  constructor(private _encer: Encer) {}

  /** The chat continues if this fails. */
  async ask(): Promise<void> {
    this._isCurrent = false;
    if (this._running) return;
    this._running = true;
    for (let tries = TRIES; this._encer.socket && !this._isCurrent && tries > 0; ) {
      const { signal } = this._encer.socket;
      this._isCurrent = true;
      let pause = PAUSE;
      try {
        await this._listPages();
      } catch (error) {
        if (!mayPass(error)) break;
        this._isCurrent = false;
        tries--;
        pause = Math.min(Math.max(pause, (error.retryAfter ?? 0) * 1000), LONGEST_PAUSE);
      }
      await sleep(pause, signal).catch(() => undefined); // after a close, the next socket lists at once
    }
    this._running = false;
  }

  private async _listPages(): Promise<void> {
    const counts = new Map<string, number>();
    for (let page = 0, cursor = ""; page < PAGES; page++) {
      const params = { limit: 100, ...(cursor ? { cursor } : {}) };
      const { data, pageInfo } = await this._encer.call("GET", "/chat/conversations", { params });
      for (const { id, unreadCount, participants } of data) {
        counts.set(id, unreadCount);
        const chat = this._encer.conversations.get(id);
        for (const { userId, lastReadSeq, lastReadAt } of chat ? participants : [])
          chat!.receiveRead({ conversationId: id, userId, seq: lastReadSeq, readAt: lastReadAt });
      }
      cursor = pageInfo.nextCursor;
      if (!cursor) return this._encer.unread.listed(counts);
    }
  }
}
