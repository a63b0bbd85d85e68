// The form with e-mail and password that both pages use, with the people of `make seed` as a shortcut.
import { field, h } from "./dom.js";
import { Encer } from "./encer.js";

export const ROOT = new URL("../../", import.meta.url); // of the server, behind any prefix that a proxy adds
export const PEOPLE = JSON.parse(document.body.dataset.people || "[]");

// Calls `onSignedIn(encer, user)`. Tokens are in memory only, so a reload of the page ends the sign-in.
export function signInForm({ onSignedIn, offered = PEOPLE, options = {} }) {
  const email = h("input", { type: "email", name: "email", autocomplete: "username", required: true });
  const password = h("input", { type: "password", name: "password", autocomplete: "current-password", required: true });
  const note = h("p", { class: "note", role: "alert" });
  const button = h("button", { class: "main", type: "submit" }, "Sign in");

  async function submit(event) {
    event?.preventDefault();
    note.textContent = "";
    button.disabled = true;
    try {
      const encer = new Encer(ROOT.href, options);
      onSignedIn(encer, await encer.signIn(email.value, password.value));
    } catch (error) {
      note.textContent = error.message;
    } finally {
      button.disabled = false;
    }
  }

  const shortcuts = offered.map((person) => h("button", {
    type: "button",
    onclick() {
      email.value = person.email;
      password.value = person.password;
      submit();
    },
  }, `${person.name}, ${person.role.toLowerCase()}`));

  return h("form", { onsubmit: submit },
    h("div", { class: "row" }, field("E-mail", email), field("Password", password), button),
    shortcuts.length ? h("div", { class: "demo" }, h("span", { class: "muted" }, "Sign in as"), shortcuts) : null,
    note);
}
