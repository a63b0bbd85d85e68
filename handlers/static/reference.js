// The events and commands of /asyncapi.json, for reading.
import { h, inline, markdown, table } from "./dom.js";

export function renderReference(document_) {
  const channel = document_.channels.socket;
  const messages = Object.entries(channel.messages);
  const commands = messages.filter(([key]) => key.startsWith("client."));
  const answers = messages.filter(([key]) => key === "error" || key === "pong"); // acks are shown with their commands
  const events = messages.filter(([key]) => !key.includes(".") && key !== "error" && key !== "pong");
  const schemas = document_.components.schemas;
  const groups = [["Commands", commands], ["Answers", answers], ["Events", events]];
  return [
    h("h2", {}, "Reference"),
    h("div", { class: "reference" },
      h("nav", { "aria-label": "Events and commands" },
        groups.map(([title, entries]) => [h("h3", {}, title), h("ul", {}, entries.map(([key]) => h("li", {}, h("a", { href: `#${key}` }, short(key)))))]),
        h("h3", {}, "More"), h("ul", {}, [["close-codes", "close codes"], ["reasons", "reasons"], ["limits", "limits"]].map(([id, name]) => h("li", {}, h("a", { href: `#${id}` }, name))))),
      h("div", { class: "entries" },
        h("div", { class: "card entry" }, markdown(document_.info.description.split("## ")[0])),
        commands.map(([key, message]) => entry(key, "client → server", message, schemas, channel.messages[`ack.${short(key)}`])),
        [...answers, ...events].map(([key, message]) => entry(key, "server → client", message, schemas)),
        lists(channel))),
  ];
}

function short(key) {
  return key.replace("client.", "");
}

function resolve(schema, schemas) {
  return schema.$ref ? schemas[schema.$ref.split("/").at(-1)] : schema;
}

function entry(key, way, message, schemas, ack) {
  return h("article", { class: "card entry", id: key },
    h("header", {}, h("h3", {}, short(key)), h("span", { class: "way" }, way)),
    markdown(message.description),
    frame(short(key), message, schemas),
    ack ? [h("h4", {}, "Its ack"), frame(`the ack of ${short(key)}`, ack, schemas)] : null);
}

function frame(name, message, schemas) {
  const data = resolve(resolve(message.payload, schemas).properties.data, schemas);
  return [
    fields(name, data, schemas),
    h("pre", { tabindex: "0", role: "region", "aria-label": `Example of ${name}` }, JSON.stringify(message.examples[0].payload, null, 2)),
  ];
}

function fields(name, data, schemas) {
  const object = data.anyOf ? data.anyOf[0] : data;
  const rows = Object.entries(object.properties ?? {}).map(([field, schema]) => [
    h("code", {}, field), typeOf(schema, schemas), object.required?.includes(field) ? "always" : "optional",
    inline(schema.description ?? resolve(schema, schemas)?.description ?? ""),
  ]);
  return rows.length ? table(`Fields of ${name}`, ["field", "type", "present", "meaning"], rows) : h("p", { class: "muted" }, "Without data.");
}

function typeOf(schema, schemas) {
  if (schema.$ref) {
    const named = resolve(schema, schemas);
    return named.title ?? typeOf(named, schemas); // a set of words has no title
  }
  if (schema.anyOf) return schema.anyOf.map((each) => typeOf(each, schemas)).join(" or ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.length > 8 ? `one of ${schema.enum.length} codes` : schema.enum.join(" | ");
  if (schema.type === "array") return `list of ${typeOf(schema.items, schemas)}`;
  return { "date-time": "time", uuid: "UUID" }[schema.format] ?? [schema.type].flat().join(" or ");
}

function lists(channel) {
  const reasons = Object.entries(channel["x-reasons"]).flatMap(([event, all]) =>
    Object.entries(all).map(([reason, meaning]) => [h("code", {}, event), h("code", {}, reason), inline(meaning)]));
  const sections = [
    ["close-codes", "Close codes", ["code", "meaning", "what to do"], channel["x-close-codes"].map(({ code, meaning, advice }) => [h("code", {}, String(code)), inline(meaning), inline(advice)])],
    ["reasons", "Reasons", ["event", "reason", "meaning"], reasons],
    ["limits", "Limits", ["what", "limit"], channel["x-limits"].map(({ what, limit }) => [inline(what), inline(limit)])],
  ];
  return sections.map(([id, title, head, rows]) => h("article", { class: "card entry", id }, h("h3", {}, title), table(title, head, rows)));
}
