// Owns what assistive technology is told unasked: finished lines and changes of state, politely; problems at once.
import { inCall, status } from "./call_state.js";
import { heardSplit } from "./captions.js";
import { fill } from "./dom.js";
import { statusText } from "./wording.js";

const KEPT_LINES = 4;

export class Announcer {
  constructor({ log, news, alarm, texts }) {
    Object.assign(this, { log, news, alarm, texts });
    this.said = new Set();
  }

  tell(now, before) {
    if (now.lines !== before.lines) this.tellLines(now.lines);
    if (now.state !== before.state) this.tellState(now.state, before.state);
  }

  tellLines(lines) {
    if (lines.length === 0) this.said.clear();
    for (const line of lines) {
      const over = line.state === "final" || line.state === "failed";
      if (!over || this.said.has(line.id)) continue;
      this.said.add(line.id);
      this.add(this.sentence(line));
    }
  }

  sentence(line) {
    const { captions, misc } = this.texts;
    if (line.side === "card") return `${captions.result}: ${spoken(line.rows)}`;
    const text = line.state === "failed" && !line.sent ? captions.inaudible : heardSplit(line)[0];
    return fill(line.side === "agent" ? misc.agent_says : misc.you_said, { name: captions.agent, text });
  }

  add(text) {
    const entry = document.createElement("p");
    entry.textContent = text;
    this.log.append(entry);
    while (this.log.children.length > KEPT_LINES) this.log.firstChild.remove();
  }

  tellState(state, before) {
    const { texts } = this;
    if (state.recap && state.recap.token !== before.recap?.token) {
      this.add(`${texts.captions.check} ${state.recap.question} ${spoken(state.recap.lines)}`);
    }
    if (state.emergency && state.emergency !== before.emergency) {
      this.alarm.textContent = `${state.emergency.line} ${state.emergency.number}`.trim();
    } else if (state.problem && state.problem !== before.problem) {
      const { title, text } = texts.problem[state.problem];
      this.alarm.textContent = `${title}. ${text}`;
    } else if (state.hint !== before.hint && state.hint) {
      const region = state.hint === "talking_muted" ? this.alarm : this.news;
      region.textContent = texts.hint[state.hint] ?? texts.problem[state.hint]?.title ?? "";
    } else if (this.newsworthy(state, before)) {
      this.news.textContent = statusText(state, texts);
    }
  }

  /** Not each turn: only the course of the call, a tool at work, and the caller's own muting. */
  newsworthy(state, before) {
    if (state.phase !== before.phase) return state.phase !== "idle" && state.phase !== "error";
    return inCall(state) && (state.muted !== before.muted || (status(state) === "working" && status(before) !== "working"));
  }
}

const spoken = (rows) => rows.map(([label, text]) => `${label}: ${text}`).join(", ");
