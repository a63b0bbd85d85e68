// The program of the TypeScript client: runs the runner's commands from stdin (README.md).
import { createInterface } from "node:readline";
import { Encer, MemoryTokens } from "../typescript/dist/encer.js";

class User {
  events = []; // [name, seq, rev]
  view = new Map(); // seq -> [content, deleted]
  sent = new Map(); // key -> message id

  constructor({ base, tokens, conversation }) {
    Object.assign(this, { base, conversation, store: new MemoryTokens(tokens), rev: 0 });
    this.reconnect();
  }

  reconnect() {
    this.encer = new Encer(this.base, { tokens: this.store });
    const chat = (this.chat = this.encer.conversation(this.conversation, { after: this.rev }));
    chat.on("message", (message) => this.record("message", message, message.content));
    chat.on("edited", (message) => this.record("edited", message, message.content));
    chat.on("deleted", (deletion) => this.record("deleted", deletion, null));
  }

  record(name, { seq, rev }, content) {
    this.events.push([name, seq, rev]);
    this.view.set(seq, content);
  }

  disconnect() {
    this.rev = this.chat.rev;
    this.encer.close();
  }

  async send({ text, key }) {
    const message = await this.chat.send(text, { clientMessageId: key });
    this.sent.set(key, message.id);
    return message.seq;
  }

  edit = async ({ key, text }) => (await this.chat.edit(this.sent.get(key), text)).rev;
  delete = ({ key }) => this.chat.delete(this.sent.get(key));
  state = () => ({ rev: this.chat.rev, state: this.encer.state, error: this.encer.error?.message ?? null });
  report = () => ({ events: this.events, view: [...this.view] });
}

const users = new Map();
const answer = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

for await (const line of createInterface({ input: process.stdin })) {
  const { id, do: act, who, ...data } = JSON.parse(line);
  if (act === "quit") process.exit(0);
  Promise.resolve()
    .then(() => (act === "open" ? void users.set(who, new User(data)) : users.get(who)[act](data)))
    .then(
      (result) => answer({ id, result: result ?? null }),
      (error) => answer({ id, error: error.code ?? "BUG", sentence: String(error.stack ?? error) }),
    );
}
