/**
 * The page begins here: who am I talking to, then draw.
 */
import { readReview } from "./api.js";
import { App } from "./app.js";
import { actionOf } from "./keys.js";
import { performAction } from "./actions.js";
import { preferred, wear } from "./preferences.js";
import { makeSession } from "./session.js";
import { html, render } from "./vendor/preact-htm.js";
import { remedyOf } from "./trouble.js";

wear(preferred("theme"));
const place = document.getElementById("app") ?? document.body.appendChild(document.createElement("div"));

try {
  const review = await readReview();
  document.title = `${review.title} · kiyome review`;
  const session = makeSession(review);
  render(html`<${App} session=${session} />`, place);
  addEventListener("keydown", (event) => {
    const { address, singleKeys } = session.store.get();
    const asked = actionOf(event, { view: address.view, singleKeys });
    if (asked && performAction(session, asked)) event.preventDefault();
  });
  session.start();
} catch (/** @type {any} */ error) {
  render(html`<main class="alone"><h1>The review did not open</h1><p>${error.message}</p><p>${remedyOf(error)}</p></main>`, place);
  if (!("status" in error)) throw error;
}
