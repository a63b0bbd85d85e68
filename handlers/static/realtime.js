// The page at /docs/realtime: two people side by side, and the reference below them.
import { h } from "./dom.js";
import { Pane } from "./pane.js";
import { renderReference } from "./reference.js";
import { PEOPLE, ROOT } from "./sign-in.js";

const panes = ["First person", "Second person"].map((name, place) => new Pane(name, PEOPLE.slice(place, place + 1)));
panes[0].peer = panes[1];
panes[1].peer = panes[0];
document.querySelector("#panes").append(...panes.map((pane) => pane.element));

const reference = document.querySelector("#reference");
try {
  const response = await fetch(new URL("asyncapi.json", ROOT), { headers: { Accept: "application/json" } });
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  reference.replaceChildren(...renderReference(await response.json()));
  if (location.hash) document.querySelector(`[id="${CSS.escape(location.hash.slice(1))}"]`)?.scrollIntoView();
} catch (error) {
  reference.replaceChildren(h("p", { class: "note" }, `The description cannot be read: ${error.message}. Reload the page.`));
}
