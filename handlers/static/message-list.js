// The messages of one conversation as one person sees them.
import { h } from "./dom.js";

export class MessageList {
  constructor(name) {
    this.element = h("div", { class: "messages", role: "log", tabindex: "0", "aria-label": `Conversation of ${name}` });
    this.clear("");
  }

  clear(hint) {
    this.messages = new Map();
    this.waiting = new Set(); // texts that are not stored yet
    this.readSeq = 0;
    this.element.replaceChildren(h("p", { class: "hint" }, hint));
  }

  start(userId, otherName) {
    this.clear("Joining…");
    Object.assign(this, { userId, otherName });
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

  // Show a text that is not stored yet; the returned function ends that.
  wait(content) {
    const item = { content };
    const { waiting } = this;
    waiting.add(item);
    this.draw();
    return () => {
      waiting.delete(item);
      if (waiting === this.waiting) this.draw();
    };
  }

  read(seq) {
    this.readSeq = Math.max(this.readSeq, seq);
    this.draw();
  }

  draw() {
    const messages = [...this.messages.values()].sort((one, other) => one.seq - other.seq);
    const lastRead = messages.filter((message) => message.senderId === this.userId && message.seq <= this.readSeq).at(-1);
    const stored = messages.flatMap((message) => {
      const own = message.senderId === this.userId;
      const time = new Date(message.createdAt).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
      const bubble = h("div", { class: `bubble${own ? " own" : ""}${message.isDeleted ? " gone" : ""}` },
        h("span", { class: "visually-hidden" }, own ? "You: " : `${this.otherName}: `),
        h("span", { class: "content" }, message.content || message.fileName),
        h("small", {}, `${time} · seq ${message.seq}${message.isEdited ? " · edited" : ""}`));
      return message === lastRead ? [bubble, h("p", { class: "seen" }, `Read by ${this.otherName}`)] : [bubble];
    });
    const waiting = [...this.waiting].map(({ content }) => h("div", { class: "bubble own waiting" },
      h("span", { class: "visually-hidden" }, "You: "), h("span", { class: "content" }, content), h("small", {}, "waiting")));
    const shown = [...stored, ...waiting];
    this.element.replaceChildren(...(shown.length ? shown : [h("p", { class: "hint" }, "No messages yet. Send the first one.")]));
    this.element.scrollTop = this.element.scrollHeight;
  }
}
