// One person of the console: sign-in, socket, conversation and frames.
import { field, h } from "./dom.js";
import { FrameLog } from "./frames.js";
import { signInForm } from "./sign-in.js";
import { RealtimeSocket } from "./socket.js";
import { Talk } from "./talk.js";

const TYPING_MS = 3_000; // the server ends typing 6 s after the last repetition
const HISTORY = 30;
const STATES = { closed: "Closed", connecting: "Connecting", ready: "Connected", cut: "Line cut", waiting: "Waiting" };

export class Pane {
  constructor(name, offered) {
    this.name = name;
    this.offered = offered;
    this.title = h("h2", {}, name);
    this.status = h("span", { class: "state", role: "status", "aria-label": `State of ${name}` });
    this.badge = h("span", { class: "badge" });
    this.out = h("button", { type: "button", hidden: true, onclick: () => this.signOut() }, "Sign out");
    this.note = h("p", { class: "note", role: "alert" });
    this.log = new FrameLog(name);
    this.talk = new Talk(name);
    this.body = h("div", { class: "pane-body" });
    this.element = h("section", { class: "card pane", "aria-label": name },
      h("header", {}, this.title, this.badge, this.status, this.out), this.note, this.body);
    this.showSignIn();
  }

  // -- the two faces ----------------------------------------------------------------------------------------------

  showSignIn(sentence = "") {
    this.socket?.close();
    this.socket = null;
    this.title.textContent = this.name;
    this.badge.textContent = "";
    this.status.textContent = "Signed out";
    this.status.dataset.state = "closed";
    this.note.textContent = sentence;
    this.out.hidden = true;
    this.joined = undefined;
    this.session = null;
    this.button = null;
    this.body.replaceChildren(signInForm({ onSession: (session) => this.showConsole(session), offered: this.offered }));
    this.body.className = "pane-body";
  }

  async showConsole(session) {
    this.session = session;
    this.title.textContent = session.user.name;
    this.note.textContent = "";
    this.button = {};
    this.out.hidden = false;
    this.talk.clear("Connect, choose a conversation and join it.");
    const press = (key, label, act, attributes = {}) =>
      (this.button[key] = h("button", { type: "button", onclick: () => this.run(act), ...attributes }, label));
    this.conversations = h("select", {});
    this.typing = h("p", { class: "typing", "aria-live": "polite" });
    this.draft = h("input", { type: "text", autocomplete: "off", maxlength: "5000", oninput: () => this.typed() });
    this.body.className = "pane";
    this.body.replaceChildren(
      h("div", { class: "row" },
        press("connect", "Connect", () => this.socket.connect(), { class: "main" }),
        press("cut", "Cut the line", () => this.socket.cut()),
        press("resume", "Resume", () => this.socket.connect()),
        press("elsewhere", "Log out elsewhere", () => session.call("POST", "auth/logout-all"), {
          title: "Ends all sessions by REST, as another device would. The server closes the socket with 4403.",
        })),
      h("div", { class: "row" }, field("Conversation", this.conversations),
        press("join", "Join", () => this.join()), press("leave", "Leave", () => this.leave())),
      this.talk.element,
      this.typing,
      h("form", { class: "compose", onsubmit: (event) => { event.preventDefault(); this.run(() => this.sendMessage()); } },
        field("Message", this.draft),
        (this.button.send = h("button", { class: "main", type: "submit" }, "Send")),
        press("read", "Mark read", () => this.markRead())),
      this.log.element);
    this.socket = new RealtimeSocket(session, document.body.dataset.publicUrl);
    this.socket.addEventListener("state", ({ detail }) => this.showState(detail));
    this.socket.addEventListener("frame", ({ detail }) => this.log.add(detail));
    this.socket.addEventListener("event", ({ detail }) => this.handle(detail.event, detail.data));
    this.showState(this.socket);
    this.button.connect.focus();
    await this.run(() => this.listConversations());
  }

  async run(act) {
    this.note.textContent = "";
    try {
      await act();
    } catch (error) {
      if (error.status === 401) this.showSignIn(error.message);
      else this.note.textContent = error.message;
    }
  }

  showState({ state, sentence = "" }) {
    this.status.dataset.state = state;
    this.status.textContent = STATES[state];
    if (sentence) this.note.textContent = sentence;
    if (!this.button) return;
    const ready = state === "ready";
    const joined = ready && this.joined !== undefined;
    const enabled = {
      connect: state === "closed" || state === "waiting", cut: ready, resume: state === "cut", elsewhere: true,
      join: ready && !joined, leave: joined, send: joined, read: joined,
    };
    for (const [name, button] of Object.entries(this.button)) button.disabled = !enabled[name];
    this.conversations.disabled = joined;
    this.draft.disabled = !joined;
  }

  // -- what the buttons do ----------------------------------------------------------------------------------------

  async listConversations() {
    const { data } = await this.session.call("GET", "chat/conversations?limit=50");
    this.conversations.replaceChildren(...data.map(({ id, otherUser, unreadCount }) =>
      h("option", { value: id }, `${otherUser.name}${unreadCount ? ` (${unreadCount} unread)` : ""}`)));
    this.people = new Map(data.map(({ id, otherUser }) => [id, otherUser]));
    this.reads = new Map(data.map(({ id, otherUser, participants }) =>
      [id, participants.find(({ userId }) => userId === otherUser.id)?.lastReadSeq ?? 0]));
    this.choosePeer();
    this.peer?.choosePeer();
    if (!data.length) this.note.textContent = "This person has no conversation yet. Connect two people by REST first, or run make seed.";
  }

  // Choose the conversation with the person of the other pane, if there is one.
  choosePeer() {
    const wanted = this.peer?.session?.user.id;
    const found = [...(this.people ?? [])].find(([, { id }]) => id === wanted);
    if (found && !this.joined) this.conversations.value = found[0];
  }

  async join() {
    const id = this.conversations.value;
    if (!id) throw new Error("Choose a conversation first.");
    const path = `chat/conversations/${id}/messages?limit=${HISTORY}&peek=true`; // peek: reading here marks nothing read
    const { data } = await this.session.call("GET", path);
    this.talk.start(data, this.session.user.id, this.people.get(id).name);
    this.talk.read(this.reads.get(id)); // a join replays messages, not read marks
    this.joined = id;
    await this.socket.join(id, Math.max(0, ...data.map(({ rev }) => rev)));
    this.showState(this.socket);
    this.draft.focus();
  }

  async leave() {
    await this.socket.leave(this.joined);
    this.left("You left. Join again to go on.");
  }

  left(hint) {
    this.joined = undefined;
    this.typing.textContent = "";
    this.talk.clear(hint);
    this.showState(this.socket);
  }

  async sendMessage() {
    const content = this.draft.value.trim();
    if (!content) return;
    // Kept until the ack: the same text sent again has the same id, and is stored once.
    if (this.pending?.content !== content) this.pending = { content, clientMessageId: crypto.randomUUID() };
    const { message } = await this.socket.ask("send_message", { conversationId: this.joined, ...this.pending });
    this.pending = null;
    this.draft.value = "";
    this.typingUntil = 0;
    this.talk.put(message);
  }

  typed() {
    const now = Date.now();
    const conversationId = this.joined;
    if (!this.draft.value) {
      this.typingUntil = 0;
      this.socket.send({ event: "typing_stop", data: { conversationId } });
    } else if (now > (this.typingUntil ?? 0)) {
      this.typingUntil = now + TYPING_MS;
      this.socket.send({ event: "typing_start", data: { conversationId } });
    }
  }

  async markRead() {
    await this.socket.ask("mark_read", { conversationId: this.joined, seq: this.talk.lastSeq });
  }

  async signOut() {
    const { session } = this;
    this.showSignIn();
    await session.call("POST", "auth/logout").catch(() => {}); // it had ended already
  }

  // -- what the server says ---------------------------------------------------------------------------------------

  handle(event, data) {
    const here = data?.conversationId === this.joined;
    const other = this.people?.get(this.joined);
    if (event === "ready") this.showUnread(data.unreadNotifications);
    if (event.startsWith("notification_")) this.showUnread(data.unreadCount);
    if (here && (event === "message_sent" || event === "message_edited")) this.talk.put(data);
    if (here && event === "message_deleted") this.talk.remove(data);
    if (here && event === "message_read" && data.userId !== this.session.user.id) this.talk.read(data.seq);
    if (here && event === "user_typing") this.typing.textContent = `${other.name} is typing…`;
    if (here && (event === "user_stopped_typing" || event === "message_sent")) this.typing.textContent = "";
    if (here && event === "conversation_closed") this.left("You two are no longer connected: this conversation is closed.");
    if (here && event === "too_far_behind") this.run(() => this.join());
    if (here && event === "join_failed") this.left(data.message);
  }

  showUnread(count) {
    this.badge.textContent = `${count} unread notification${count === 1 ? "" : "s"}`;
  }
}
