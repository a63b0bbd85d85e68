// The messages of one conversation as one person sees them.
import { h } from "./dom.js";

export class Talk {
  constructor(name) {
    this.element = h("div", { class: "talk", role: "log", tabindex: "0", "aria-label": `Conversation of ${name}` });
    this.clear("");
  }

  clear(hint) {
    this.messages = new Map();
    this.readSeq = 0;
    this.element.replaceChildren(h("p", { class: "hint" }, hint));
  }

  get lastSeq() {
    return Math.max(0, ...[...this.messages.values()].map(({ seq }) => seq));
  }

  start(messages, userId, otherName) {
    this.clear(messages.length ? "" : "No messages yet. Send the first one.");
    Object.assign(this, { userId, otherName });
    for (const message of messages) this.messages.set(message.id, message);
    this.draw();
  }

  put(message) {
    const known = this.messages.get(message.id);
    if (known && known.rev >= message.rev) return;
    this.messages.set(message.id, message);
    this.draw();
  }

  remove({ messageId, rev }) {
    const known = this.messages.get(messageId);
    if (known) this.put({ ...known, rev, isDeleted: true, content: "This message was deleted" });
  }

  read(seq) {
    this.readSeq = Math.max(this.readSeq, seq);
    this.draw();
  }

  draw() {
    const messages = [...this.messages.values()].sort((one, other) => one.seq - other.seq);
    if (!messages.length) return;
    const lastRead = messages.filter((message) => message.senderId === this.userId && message.seq <= this.readSeq).at(-1);
    this.element.replaceChildren(...messages.flatMap((message) => {
      const own = message.senderId === this.userId;
      const time = new Date(message.createdAt).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
      const bubble = h("div", { class: `bubble${own ? " own" : ""}${message.isDeleted ? " gone" : ""}` },
        h("span", { class: "visually-hidden" }, own ? "You: " : `${this.otherName}: `),
        message.content || message.fileName,
        h("small", {}, `${time} · seq ${message.seq}${message.isEdited ? " · edited" : ""}`));
      return message === lastRead ? [bubble, h("p", { class: "seen" }, `Read by ${this.otherName}`)] : [bubble];
    }));
    this.element.scrollTop = this.element.scrollHeight;
  }
}
