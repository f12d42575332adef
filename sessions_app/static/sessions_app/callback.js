// Owns the form in which somebody whose call could not begin leaves a number. Knows nothing of why it could not.
import { byId, fill } from "./dom.js";

const TIMEOUT_MS = 15_000;

export class CallbackForm {
  constructor(texts) {
    this.texts = texts;
    this.form = byId("callback");
    this.left = false;
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.leave();
    });
  }

  /** Offer it beside a problem, or no more. Who has left a number reads that it was kept. */
  offer(on) {
    this.form.hidden = !on || this.left;
    byId("callback-kept").hidden = !on || !this.left;
  }

  async leave() {
    const button = this.form.querySelector("button");
    if (button.getAttribute("aria-disabled") === "true") return;
    button.setAttribute("aria-disabled", "true"); // not `disabled`, by which it would lose the focus
    this.tell("", []);
    const [status, answer] = await this.post();
    button.setAttribute("aria-disabled", "false");
    if (status === 201) this.keep(answer.phone);
    else if (status === 400) this.tell(Object.values(answer.errors ?? {}).join(" "), Object.keys(answer.errors ?? {}));
    else this.tell(status === 429 ? this.texts.too_many : this.texts.failed, []);
  }

  /** Resolves to the answer's status, 0 when there was none, and its body. */
  async post() {
    try {
      const answer = await fetch(this.form.action, {
        method: "POST",
        credentials: "omit",
        body: new URLSearchParams(new FormData(this.form)),
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      return [answer.status, await answer.json()];
    } catch {
      return [0, {}];
    }
  }

  keep(phone) {
    this.left = true;
    byId("callback-kept").textContent = fill(this.texts.kept, { phone });
    this.offer(true);
    byId("callback-kept").focus();
  }

  tell(problem, fields) {
    byId("callback-problem").textContent = problem;
    for (const input of this.form.elements) {
      if (input.name) input.setAttribute("aria-invalid", String(fields.includes(input.name)));
    }
    this.form.elements.namedItem(fields[0])?.focus();
  }
}
