// The page at /docs: Swagger UI with one sign-in for all requests.
import { h } from "./dom.js";
import { NotSignedIn } from "./encer.js";
import { toOpenApi30 } from "./older.js";
import { ROOT, signInForm } from "./sign-in.js";

const place = document.querySelector("#sign-in");
const ui = document.querySelector("#ui");
let encer = null;
const ENDED = new Set(["NOT_AUTHENTICATED", "TOKEN_EXPIRED", "INVALID_TOKEN"]);

function showForm(sentence = "") {
  encer = null;
  const note = h("p", { class: "note", role: "status" }, sentence);
  place.replaceChildren(note, signInForm({ onSignedIn: showPerson }));
}

function showPerson(client, user) {
  encer = client;
  const out = h("button", { type: "button", onclick: signOut }, "Sign out");
  place.replaceChildren(h("div", { class: "row", role: "status" },
    h("p", { class: "who" }, "Signed in as ", h("strong", {}, user.name),
      ` (${user.role.toLowerCase()}). Every request below carries your token.`), out));
  out.focus();
}

async function signOut() {
  const ending = encer;
  showForm();
  await ending.signOut().catch(() => {}); // the session had ended already
}

// Swagger UI calls this before each request. The token is renewed here, so it does not expire while the user reads.
async function addToken(request) {
  if (!encer || request.loadSpec || !request.url.startsWith(ROOT.href)) return request;
  try {
    request.headers.Authorization = `Bearer ${await encer.rest.session.token()}`;
  } catch (error) {
    if (error instanceof NotSignedIn) showForm(error.message); // without a network, the request itself shows it
  }
  return request;
}

// The session may end elsewhere before its token expires. A wrong password is a 401 too, with another code, and `refresh` is about
// the token in its body.
function noticeEnd(response) {
  const isOwn = !response.url.endsWith("/auth/refresh");
  if (encer && isOwn && response.status === 401 && ENDED.has(response.body?.code)) showForm("Your session has ended. Please sign in again.");
  return response;
}

// What screen readers and keyboards miss in Swagger UI: names of fields and of buttons with a picture alone, and boxes that scroll.
function mend() {
  for (const button of ui.querySelectorAll("button:not([aria-label])")) {
    if (!button.textContent.trim()) button.setAttribute("aria-label", button.title || "Copy or download");
  }
  for (const input of ui.querySelectorAll(":is(input, select, textarea):not([aria-label], [id])")) {
    input.setAttribute("aria-label", input.closest("tr")?.querySelector(".parameter__name")?.textContent || input.placeholder || "Value");
  }
  for (const box of ui.querySelectorAll("pre:not([tabindex])")) box.tabIndex = 0;
}

showForm();
const response = await fetch(new URL("openapi.json", ROOT), { headers: { Accept: "application/json" } });
if (response.ok) {
  const spec = toOpenApi30(await response.json());
  spec.servers = [{ url: ROOT.href.replace(/\/$/, "") }]; // the address of this page, also if PUBLIC_URL differs
  window.SwaggerUIBundle({
    spec,
    domNode: ui,
    docExpansion: "none",
    defaultModelsExpandDepth: -1,
    filter: true,
    syntaxHighlight: false,
    requestInterceptor: addToken,
    responseInterceptor: noticeEnd,
    validatorUrl: null,
  });
  new MutationObserver(mend).observe(ui, { childList: true, subtree: true });
} else {
  ui.replaceChildren(h("p", { class: "note" }, `The description cannot be read: the server answered ${response.status}. Reload the page.`));
}
