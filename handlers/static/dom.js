// Build elements: h("p", { class: "note" }, "text", child). Text stays text: nothing here reads HTML.
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

let numbers = 0;

// A label with its control inside a form or row.
export function field(label, control) {
  control.id ||= `field-${(numbers += 1)}`;
  return h("label", { for: control.id }, label, control);
}

export function table(caption, head, rows) {
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", {},
      h("caption", { class: "visually-hidden" }, caption),
      h("thead", {}, h("tr", {}, head.map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell) => h("td", {}, cell)))))));
}

// Descriptions are written in a little Markdown: paragraphs, `code` and **bold**. Tables are shown elsewhere.
export function markdown(text) {
  return text.split(/\n{2,}/).filter((part) => !/^\s*\|/.test(part)).map((part) => {
    const heading = part.match(/^#+ (.*)/);
    return heading ? h("h3", {}, heading[1]) : h("p", {}, inline(part));
  });
}

export function inline(text) {
  return text.split(/(`[^`]+`|\*\*[^*]+\*\*)/).map((part) => {
    if (part.startsWith("`")) return h("code", {}, part.slice(1, -1));
    return part.startsWith("**") ? h("strong", {}, part.slice(2, -2)) : part;
  });
}
