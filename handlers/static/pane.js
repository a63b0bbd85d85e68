// One person of the console: sign-in, connection, conversation and frames. encer.js, the client of clients/typescript,
// connects, resumes and sends.
import { field, h } from "./dom.js";
import { NotSignedIn, Unreachable } from "./encer.js";
import { FrameLog } from "./frames.js";
import { Line } from "./line.js";
import { signInForm } from "./sign-in.js";
import { MessageList } from "./message-list.js";

const PUBLIC_URL = document.body.dataset.publicUrl;
const STATES = {
  out: "Signed out", new: "Not connected", connecting: "Connecting", live: "Connected", offline: "Waiting", cut: "Line cut", ended: "Ended",
};

export class Pane {
  constructor(name, offered) {
    this.name = name;
    this.offered = offered;
    this.title = h("h2", {}, name);
    this.status = h("span", { class: "state", role: "status", "aria-label": `State of ${name}` });
    this.badge = h("span", { class: "badge" });
    this.out = h("button", { type: "button", onclick: () => this.signOut() }, "Sign out");
    this.note = h("p", { class: "note", role: "alert" });
    this.log = new FrameLog(name);
    this.messages = new MessageList(name);
    this.body = h("div");
    this.element = h("section", { class: "card pane", "aria-label": name },
      h("header", {}, this.title, this.badge, this.status, this.out), this.note, this.body);
    this.showSignIn();
  }

  // -- shown state ----------------------------------------------------------------------------------------

  // The frames of the last session stay readable.
  showSignIn(sentence = "") {
    this.encer?.close();
    Object.assign(this, { encer: null, user: null, chat: null, button: {}, isStarted: false, isJoined: false, isResuming: false });
    this.title.textContent = this.name;
    this.badge.textContent = "";
    this.line = new Line((frame) => this.log.add(frame));
    const form = signInForm({
      onSignedIn: (encer, user) => this.showConsole(encer, user), offered: this.offered, options: { WebSocket: this.line.WebSocket },
    });
    this.body.className = "pane";
    this.body.replaceChildren(form, ...(this.log.isEmpty ? [] : [this.log.element]));
    this.showState(sentence);
  }

  async showConsole(encer, user) {
    Object.assign(this, { encer, user });
    this.title.textContent = user.name;
    this.log.clear();
    this.messages.clear("Connect, choose a conversation and join it.");
    const press = (key, label, act, attributes = {}) =>
      (this.button[key] = h("button", { type: "button", onclick: () => this.run(act), ...attributes }, label));
    this.conversations = h("select");
    this.typing = h("p", { class: "typing", "aria-live": "polite" });
    this.draft = h("input", { type: "text", autocomplete: "off", maxlength: "5000", oninput: () => this.typed() });
    this.body.replaceChildren(
      h("div", { class: "row" },
        press("connect", "Connect", () => this.connect(), { class: "main" }),
        press("cut", "Cut the line", () => this.cut()),
        press("resume", "Resume", () => this.resume()),
        press("elsewhere", "Log out elsewhere", () => encer.call("POST", "/auth/logout-all"), {
          title: "Ends all sessions by REST, as another device would. The server closes the socket with 4403.",
        })),
      h("div", { class: "row" }, field("Conversation", this.conversations),
        press("join", "Join", () => this.join()), press("leave", "Leave", () => this.leave())),
      this.messages.element,
      this.typing,
      h("form", { class: "compose", onsubmit: (event) => { event.preventDefault(); this.run(() => this.send()); } },
        field("Message", this.draft),
        (this.button.send = h("button", { class: "main", type: "submit" }, "Send")),
        press("read", "Mark read", () => this.chat.read())),
      this.log.element);
    encer.on("state", () => this.follow(encer));
    encer.on("unread", ({ notifications }) => this.showUnread(notifications));
    this.showState();
    this.button.connect.focus();
    await this.run(() => this.listConversations());
  }

  async run(act) {
    const { encer } = this;
    this.note.textContent = "";
    try {
      await act();
    } catch (error) {
      if (encer !== this.encer) return; // the events of a user who has signed out
      if (error instanceof NotSignedIn) this.showSignIn(error.message);
      else this.note.textContent = error.message;
    }
  }

  get state() {
    if (!this.encer) return "out";
    if (this.line.isCut) return "cut";
    return this.isStarted ? this.encer.state : "new";
  }

  showState(sentence = "") {
    const { state } = this;
    this.status.dataset.state = state;
    this.status.textContent = STATES[state];
    if (this.note.textContent !== sentence) this.note.textContent = sentence; // screen readers read each change aloud
    this.out.hidden = state === "out";
    if (state === "out") return;
    const enabled = {
      connect: state === "new" || state === "ended", cut: state === "live", resume: state === "cut", elsewhere: true,
      join: state === "live" && !this.chat, leave: this.isJoined, send: this.isJoined, read: this.isJoined,
    };
    for (const [name, button] of Object.entries(this.button)) button.disabled = !enabled[name];
    this.conversations.disabled = Boolean(this.chat);
    this.draft.disabled = !this.isJoined;
  }

  // -- actions of the buttons ----------------------------------------------------------------------------------------

  async listConversations() {
    const { data } = await this.encer.call("GET", "/chat/conversations", { params: { limit: 50 } });
    this.conversations.replaceChildren(...data.map(({ id, otherUser }) => h("option", { value: id }, otherUser.name)));
    this.people = new Map(data.map(({ id, otherUser }) => [id, otherUser]));
    this.choosePeer();
    this.peer?.choosePeer();
    if (!data.length) this.note.textContent = "This person has no conversation yet. Connect two people by REST first, or run make seed.";
  }

  connect() {
    this.isStarted = true;
    this.encer.connect();
  }

  // Choose the conversation with the person of the other pane, if there is one.
  choosePeer() {
    const found = [...(this.people ?? [])].find(([, { id }]) => id === this.peer?.user?.id);
    if (found && !this.chat) this.conversations.value = found[0];
  }

  join() {
    const id = this.conversations.value;
    if (!id) throw new Error("Choose a conversation first.");
    const { name } = this.people.get(id);
    const chat = (this.chat = this.encer.conversation(id));
    this.messages.start(this.user.id, name);
    chat.on("message", (message) => this.messages.put(message));
    chat.on("edited", (message) => this.messages.put(message));
    chat.on("deleted", (deletion) => this.messages.remove(deletion));
    chat.on("read", ({ userId, seq }) => { if (userId !== this.user.id) this.messages.read(seq); });
    chat.on("typing", ({ typing }) => { this.typing.textContent = typing ? `${name} is typing…` : ""; });
    chat.on("joined", () => this.joined());
    chat.on("closed", () => this.left("You two are no longer connected: this conversation is closed."));
    chat.on("error", (error) => {
      if (this.encer.conversations.has(id)) this.note.textContent = error.message;
      else this.left(error.message);
    });
    this.showState();
  }

  joined() {
    const first = !this.isJoined;
    this.isJoined = true;
    this.messages.draw();
    this.showState();
    if (first) this.draft.focus();
  }

  leave() {
    return this.left("You left. Join again to go on.");
  }

  async left(hint) {
    const { chat } = this;
    this.chat = null;
    this.isJoined = false;
    this.typing.textContent = "";
    this.messages.clear(hint);
    this.showState();
    await chat.leave().catch(() => {}); // a closed conversation has been left already
  }

  // While the line is cut, the message waits in the client.
  async send() {
    const content = this.draft.value.trim();
    if (!content) return;
    const { chat, messages } = this;
    const done = messages.wait(content);
    this.draft.value = "";
    try {
      const message = await chat.send(content);
      if (chat === this.chat) messages.put(message);
    } catch (error) {
      this.draft.value ||= content;
      throw error;
    } finally {
      done();
    }
  }

  typed() {
    if (this.draft.value) this.chat.typing();
    else this.chat.stopTyping();
  }

  cut() {
    this.line.cut();
    this.showState("The line is cut. The client tries to connect, and sends waiting messages after Resume.");
  }

  resume() {
    this.line.mend();
    this.isResuming = true;
    this.encer.wake();
    this.showState();
  }

  async signOut() {
    const { encer } = this;
    this.encer = null; // first, so that its end is not shown
    this.showSignIn();
    await encer.signOut().catch(() => {}); // the session had ended already
  }

  // -- events of the client ------------------------------------------------------------------------------------

  follow(encer) {
    if (encer !== this.encer) return;
    const { state } = this;
    if (encer.state === "live") this.isResuming = false;
    if (state === "ended" && encer.error instanceof NotSignedIn) return this.showSignIn(encer.error.message);
    if (state === "cut") return;
    if (state === "offline") this.showState(`${this.explain(encer.error)} The client tries again.`);
    else if (state === "connecting") this.showState(this.note.textContent); // the reason of the last failure stays
    else this.showState(state === "ended" ? this.explain(encer.error) : "");
    if (state === "offline" && this.isResuming) {
      this.isResuming = false; // an attempt from before Resume has failed: try again immediately
      encer.wake();
    }
  }

  // A browser does not tell a page that the server refuses its own origin.
  explain(error) {
    const foreign = PUBLIC_URL && new URL(PUBLIC_URL).origin !== location.origin;
    if (foreign && error instanceof Unreachable)
      return `The server may refuse this page's origin, ${location.origin}. Open ${new URL("docs/realtime", `${PUBLIC_URL}/`)} instead, or add the origin to FRONTEND_URL.`;
    return error?.message ?? "The connection was lost.";
  }

  showUnread(count) {
    this.badge.textContent = `${count} unread notification${count === 1 ? "" : "s"}`;
  }
}
