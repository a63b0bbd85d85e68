export { type Cancellable, Conversation, type ConversationEvents, type SendOptions } from "./conversation.js";
export { Encer, type EncerEvents, type EncerOptions, type State } from "./encer.js";
export * from "./errors.js";
export { BrowserOutbox, type OutboxStore, type Unsent } from "./outbox.js";
export type { CallOptions, UploadOptions } from "./rest.js";
export { BrowserTokens, MemoryTokens, type Tokens, type TokenStore } from "./tokens.js";
export type * from "./types.js";
