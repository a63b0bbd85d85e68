// Run by test_typescript.py: does what its argument says with the built client, and prints the outcome as JSON.
import * as encer from "../../clients/typescript/dist/encer.js";

const { Encer, MemoryTokens } = encer;
const [act, base, given, more] = process.argv.slice(2).map((text) => (text.startsWith("{") ? JSON.parse(text) : text));
const caught = async (work) => {
  try {
    return await work();
  } catch (error) {
    return { kind: classOf(error), sentence: error.message };
  }
};
const of = (client) => ({ state: client.state, kind: classOf(client.error), sentence: client.error?.message });
const classOf = (error) =>
  Object.entries(encer).find(([, kind]) => typeof kind === "function" && error?.constructor === kind)?.[0];

const acts = {
  /** Connect until the client ends. */
  async end() {
    const client = new Encer(base, { tokens: new MemoryTokens(given) });
    await client.live(60_000).catch(() => undefined);
    const outcome = of(client);
    client.close();
    return outcome;
  },
  bases: () => Promise.all(given.bases.map((one) => caught(async () => new Encer(one)))),
  send: () => caught(() => new Encer(base, { tokens: new MemoryTokens() }).conversation("none").send(given.content)),
  signIn: () => caught(() => new Encer(base).signIn(given.email, given.password)),
  /** All that one person can do in a conversation. */
  async chat() {
    const client = new Encer(base, { tokens: new MemoryTokens(given), pace: [1000, 1000] });
    const chat = client.conversation(more);
    const seen = [];
    for (const name of ["message", "edited", "deleted"]) chat.on(name, () => seen.push(name));
    const received = (name, count) =>
      new Promise((resolve) => {
        const check = () => seen.filter((one) => one === name).length >= count && resolve();
        chat.on(name, check);
        check();
      });
    await new Promise((resolve) => chat.on("joined", resolve));
    const stored = await chat.send("Hello");
    await received("message", 1);
    await chat.edit(stored.id, "Hello again");
    await received("edited", 1);
    await chat.delete(stored.id);
    await received("deleted", 1);
    const png = Buffer.from(given.png, "base64");
    const progress = [];
    const attachment = await chat.upload(new Blob([png]), { name: "tea.png", onProgress: (sent) => progress.push(sent) });
    const picture = await chat.send("", { attachment });
    const tooLong = await caught(() => chat.send("x".repeat(5001)));
    const stopped = AbortSignal.abort();
    const aborted = await caught(() => chat.send("not sent", { signal: stopped }));
    const uploadAborted = await caught(() => chat.upload(new Blob([png]), { signal: stopped }));
    const history = (await chat.history()).map(({ seq }) => seq);
    chat.read();
    client.close();
    const closed = await caught(() => chat.send("too late"));
    const sent = progress.at(-1) >= png.length;
    return { seen, fileUrl: picture.fileUrl, sent, tooLong, aborted, uploadAborted, history, closed };
  },
};
const outcome = await acts[act]();
process.stdout.write(JSON.stringify(outcome));
process.exit(0);
