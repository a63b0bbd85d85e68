import type { Json } from "./rest.js";
export declare class Unread {
    private changed;
    notifications: number;
    private counts;
    private unlisted;
    /** `changed(conversationId, count)` is called at each change of a conversation; "" means the totals. */
    constructor(changed: (conversationId: string, count: number) => void);
    get messages(): number;
    ready(data: Json): void;
    /** Store the counts of all conversations. */
    listed(counts: Map<string, number>): void;
    set(conversationId: string, count: number): void;
    /** Store the counts of a notification event. Return whether the conversations must be listed again. */
    notification({ unreadCount, notification }: Json): boolean;
}
