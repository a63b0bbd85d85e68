// Unread counts: of notifications, of all messages, and of each conversation.

import type { Json } from "./rest.js";
import { checkNumbers } from "./socket.js";

const CONVERSATIONS = 1_000; // whose counts are kept; the oldest are dropped first

export class Unread {
  notifications = 0;
  private _counts = new Map<string, number>();
  private _unlisted = 0; // messages that `ready` counts in conversations that are not known yet

  /** `changed(conversationId, count)` is called at each change of a conversation; "" means the totals. */
  constructor(private _changed: (conversationId: string, count: number) => void) {}

  get messages(): number {
    return Math.max(this._unlisted, [...this._counts.values()].reduce((sum, count) => sum + count, 0));
  }

  ready(data: Json): void {
    this.notifications = data.unreadNotifications;
    this._unlisted = data.unreadMessages;
    this._changed("", this.notifications);
  }

  /** Store the counts of all conversations. */
  listed(counts: Map<string, number>): void {
    this._unlisted = 0;
    for (const id of [...this._counts.keys()]) if (!counts.has(id)) this.set(id, 0);
    for (const [id, count] of counts) this.set(id, count);
  }

  set(conversationId: string, count: number): void {
    checkNumbers(count);
    const before = this._counts.get(conversationId) ?? 0;
    this._counts.delete(conversationId);
    this._counts.set(conversationId, count);
    if (this._counts.size > CONVERSATIONS) this._counts.delete(this._counts.keys().next().value!);
    if (count !== before) this._changed(conversationId, count);
  }

  /** Store the counts of a notification event. Return whether the conversations must be listed again. */
  notification({ unreadCount, notification }: Json): boolean {
    checkNumbers(unreadCount);
    this.notifications = unreadCount;
    this._changed("", unreadCount);
    if (!notification) return this.messages > 0; // read or deleted: the event does not name the conversation
    const { type, conversationId, isRead, metadata } = notification;
    if (type === "NEW_MESSAGE" && conversationId && !isRead)
      this.set(conversationId, JSON.parse(metadata || "{}").count ?? 0);
    return false;
  }
}
