import type { Json } from "./rest.js";
export declare class Unread {
    private _changed;
    notifications: number;
    private _counts;
    private _unlisted;
    /** `changed(conversationId, count)` is called at each change of a conversation; "" means the totals. */
    constructor(_changed: (conversationId: string, count: number) => void);
    get messages(): number;
    ready(data: Json): void;
    /** Store the counts of all conversations. */
    listed(counts: Map<string, number>): void;
    set(conversationId: string, count: number): void;
    /** Store the counts of a notification event. Return whether the conversations must be listed again. */
    notification({ unreadCount, notification }: Json): boolean;
}
