// The log of frames of one socket: time, direction, size and content, with a filter.
import { field, h } from "./dom.js";

const KEPT = 500;
const encoder = new TextEncoder();

export class FrameLog {
  constructor(name) {
    this.list = h("ol", { tabindex: "0", "aria-label": `Frames of ${name}` });
    this.words = h("input", { type: "search", placeholder: "message  -ping", oninput: () => this.filter() });
    this.direction = h("select", { onchange: () => this.filter() },
      h("option", { value: "" }, "Both directions"), h("option", { value: "sent" }, "Sent"), h("option", { value: "received" }, "Received"));
    this.count = h("span", { class: "muted" }, "0 frames");
    this.element = h("section", { class: "frames", "aria-label": `Frames of ${name}` },
      h("div", { class: "row" }, h("h3", {}, "Frames"), this.count),
      h("div", { class: "row" },
        field("Filter", this.words), field("Direction", this.direction),
        h("button", { type: "button", onclick: () => this.clear() }, "Clear")),
      this.list);
  }

  get isEmpty() {
    return !this.list.firstChild;
  }

  add({ direction, text, event }) {
    const now = new Date();
    const time = `${now.toTimeString().slice(0, 8)}.${String(now.getMilliseconds()).padStart(3, "0")}`;
    const atEnd = this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight < 40;
    const row = h("li", { class: direction },
      h("details", {},
        h("summary", {},
          h("time", { datetime: now.toISOString() }, time),
          h("span", { class: "arrow" }, h("span", { "aria-hidden": "true" }, direction === "sent" ? "↑" : "↓"), h("span", { class: "visually-hidden" }, direction)),
          h("span", { class: "name" }, event),
          h("span", { class: "size" }, `${encoder.encode(text).length} B`)),
        h("pre", {}, JSON.stringify(JSON.parse(text), null, 2))));
    row.text = `${event} ${text}`.toLowerCase();
    this.list.append(row);
    if (this.list.children.length > KEPT) this.list.firstChild.remove();
    this.show(row);
    this.showCount();
    if (atEnd) this.list.scrollTop = this.list.scrollHeight;
  }

  // Words are all needed; a word after a minus must be absent.
  show(row) {
    const words = this.words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = words.every((word) => (word.startsWith("-") && word.length > 1 ? !row.text.includes(word.slice(1)) : row.text.includes(word)));
    row.hidden = !fits || (this.direction.value !== "" && !row.classList.contains(this.direction.value));
  }

  filter() {
    for (const row of this.list.children) this.show(row);
    this.showCount();
  }

  clear() {
    this.list.replaceChildren();
    this.showCount();
  }

  showCount() {
    const rows = [...this.list.children];
    const shown = rows.filter((row) => !row.hidden).length;
    this.count.textContent = shown === rows.length ? `${rows.length} frames` : `${shown} of ${rows.length} frames`;
  }
}
