// Owns how the words of a call are drawn. Text only ever enters the page as text.
import { heardSplit } from "./captions.js";
import { element } from "./dom.js";

const NEAR_END_PX = 48;

export class CaptionView {
  constructor({ list, scroll, toNewest, texts }) {
    Object.assign(this, { list, scroll, toNewest, texts });
    this.rows = new Map(); // id -> {line, node}
    this.following = true;
    scroll.addEventListener("scroll", () => this.noteScroll());
    toNewest.addEventListener("click", () => this.follow());
    new ResizeObserver(() => this.keepUp()).observe(scroll); // a recap takes its room from here
  }

  render(lines) {
    const kept = new Set(lines.map((line) => line.id));
    for (const [id, row] of this.rows) if (!kept.has(id)) this.remove(id, row);
    lines.forEach((line, position) => this.place(line, position));
    this.keepUp();
  }

  keepUp() {
    if (this.following) this.scroll.scrollTop = this.scroll.scrollHeight;
    this.toNewest.hidden = this.following;
  }

  place(line, position) {
    const row = this.rows.get(line.id) ?? { line: null, node: element("li") };
    if (row.line !== line) this.draw(row.node, line);
    this.rows.set(line.id, { ...row, line });
    if (this.list.children[position] !== row.node) this.list.insertBefore(row.node, this.list.children[position] ?? null);
  }

  remove(id, row) {
    row.node.remove();
    this.rows.delete(id);
  }

  draw(node, line) {
    node.className = `caption caption-${line.side} caption-${line.state}`;
    node.replaceChildren(...(line.side === "card" ? this.card(line) : this.bubble(line)));
  }

  bubble(line) {
    const who = element("p", { class: "caption-who" }, line.side === "agent" ? this.texts.agent : this.texts.caller);
    return [who, element("p", { class: "caption-text" }, ...this.words(line))];
  }

  words(line) {
    const { inaudible, not_sent: notSent, pending, not_heard: notHeard } = this.texts;
    if (line.state === "failed" && line.sent) return [line.text, " ", element("em", {}, `(${notSent})`)];
    if (line.state === "failed") return [element("em", {}, inaudible)];
    if (!line.text) return [element("span", { class: "typing", "aria-label": pending, role: "img" })];
    const [heard, unheard] = heardSplit(line);
    if (!unheard.trim()) return [heard];
    return [heard, element("span", { class: "hidden-visually" }, ` ${notHeard} `), element("del", {}, unheard)];
  }

  card({ rows }) {
    const heading = element("p", { class: "caption-who" }, this.texts.result);
    return [heading, element("dl", { class: "facts-list" }, ...factRows(rows))];
  }

  /** Only the reader's own scrolling stops the following: room that shrinks scrolls too. */
  noteScroll() {
    const { scrollTop, clientHeight, scrollHeight } = this.scroll;
    if (clientHeight !== this.height) {
      this.height = clientHeight;
      return this.keepUp();
    }
    this.following = scrollHeight - scrollTop - clientHeight < NEAR_END_PX;
    this.toNewest.hidden = this.following;
  }

  follow() {
    this.following = true;
    this.keepUp();
    this.scroll.focus();
  }
}

/** [[label, text], ...] as the rows of a description list. */
export function factRows(rows) {
  return rows.map(([label, text]) => element("div", {}, element("dt", {}, label), element("dd", {}, text)));
}
