/**
 * The page begins here: read the review, then render.
 */
import { readReview } from "./api.js";
import { App } from "./app.js";
import { actionOf } from "./keys.js";
import { performAction } from "./actions.js";
import { preference, applyTheme } from "./preferences.js";
import { makeSession } from "./session.js";
import { html, render } from "./vendor/preact-htm.js";
import { remedyOf } from "./errors.js";

applyTheme(preference("theme"));
const root = document.getElementById("app") ?? document.body.appendChild(document.createElement("div"));

try {
  const review = await readReview();
  document.title = `${review.title} · kiyome review`;
  const session = makeSession(review);
  render(html`<${App} session=${session} />`, root);
  addEventListener("keydown", (event) => {
    const { address, singleKeys } = session.store.get();
    const call = actionOf(event, { view: address.view, singleKeys });
    if (call && performAction(session, call)) event.preventDefault();
  });
  session.start();
} catch (/** @type {any} */ error) {
  render(html`<main class="alone"><h1>The review did not open</h1><p>${error.message}</p><p>${remedyOf(error)}</p></main>`, root);
  if (!("status" in error)) throw error;
}
