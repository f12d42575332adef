// Owns the lines of a call: which one is current, whether the page follows it, and what a search finds in them.
// Knows nothing of sound.

import { byId } from "./dom.js";

export class Transcript extends EventTarget {
  constructor() {
    super();
    this.rows = [...document.querySelectorAll("#rows > .row")];
    this.turns = this.rows
      .filter((row) => row.dataset.kind === "turn")
      .map((row) => ({ row, at: Number(row.dataset.at), until: Number(row.dataset.until) }))
      .toSorted((one, other) => one.at - other.at);
    this.current = null;
    this.following = true;
    // What a person does to scroll; a scroll of our own sends none of these.
    for (const kind of ["wheel", "touchmove"]) addEventListener(kind, () => this.#scrolledByHand(), { passive: true });
    addEventListener("keydown", (event) => {
      if (["PageUp", "PageDown", "Home", "End"].includes(event.key)) this.#scrolledByHand();
    });
  }

  /** Who speaks at `ms`: "caller", "agent" or "". The later of two who overlap. */
  speaking(ms) {
    return this.turns.findLast(({ at, until }) => at <= ms && ms < until)?.row.dataset.speaker ?? "";
  }

  show(ms) {
    const row = this.turns.findLast(({ at }) => at <= ms)?.row ?? null;
    if (row === this.current) return;
    this.current?.removeAttribute("aria-current");
    row?.setAttribute("aria-current", "true");
    this.current = row;
    if (this.following) this.reveal(row);
  }

  follow(on) {
    if (this.following === on) return;
    this.following = on;
    if (on) this.reveal(this.current);
    this.dispatchEvent(new Event("follow"));
  }

  reveal(row) {
    row?.scrollIntoView({ block: "center", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  }

  /** The first row after `ms` that `selector` matches, or before it when `backwards`. */
  next(selector, ms, { backwards = false } = {}) {
    const fits = this.rows.filter((row) => row.matches(selector));
    return backwards
      ? fits.findLast((row) => Number(row.dataset.at) < ms - 1_500) // a moment's grace: else it sticks at one line
      : fits.find((row) => Number(row.dataset.at) > ms);
  }

  #scrolledByHand() {
    if (this.following && this.current) this.follow(false);
  }
}

export class Search {
  /** `found(rows)` hears of each new set of hits; `chosen(row, n, count)` of the one that is looked at. */
  constructor(rows, { found, chosen }) {
    Object.assign(this, { rows, found, chosen });
    this.hits = [];
    this.at = -1;
    byId("search").addEventListener("input", () => this.look());
    byId("search").addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.step(event.shiftKey ? -1 : 1);
      else if (event.key === "Escape") this.leave();
      else return;
      event.preventDefault();
    });
    byId("search-next").addEventListener("click", () => this.step(1));
    byId("search-previous").addEventListener("click", () => this.step(-1));
  }

  look() {
    const wanted = byId("search").value.trim().toLowerCase();
    this.rows.forEach((row) => row.classList.remove("hit", "hit-now"));
    const ranges = wanted ? this.rows.flatMap((row) => occurrences(row, wanted)) : [];
    this.hits = this.rows.filter((row) => ranges.some((range) => row.contains(range.startContainer)));
    this.hits.forEach((row) => row.classList.add("hit"));
    // Where the browser cannot paint ranges, the line itself is marked all the same.
    if (CSS.highlights) CSS.highlights.set("search-hit", new Highlight(...ranges));
    this.at = -1;
    for (const id of ["search-next", "search-previous"]) byId(id).disabled = this.hits.length === 0;
    this.found(this.hits, wanted !== "");
  }

  step(by) {
    if (this.hits.length === 0) return;
    this.hits[this.at]?.classList.remove("hit-now");
    this.at = (this.at + by + this.hits.length) % this.hits.length;
    const row = this.hits[this.at];
    row.classList.add("hit-now");
    row.querySelector("details")?.setAttribute("open", "");
    this.chosen(row, this.at + 1, this.hits.length);
  }

  leave() {
    byId("search").value = "";
    this.look();
    byId("search").blur();
  }
}

/** Where `wanted` stands within single pieces of the row's text. */
function occurrences(row, wanted) {
  const ranges = [];
  const walker = document.createTreeWalker(row, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (node.parentElement.closest(".seek, .hidden-visually")) continue;
    const text = node.data.toLowerCase();
    for (let at = text.indexOf(wanted); at >= 0; at = text.indexOf(wanted, at + wanted.length)) {
      // Lower case may be longer than what it was made of ("İ"): such a text is marked by its row alone.
      const exact = text.length === node.data.length;
      const range = new Range();
      range.setStart(node, exact ? at : 0);
      range.setEnd(node, exact ? at + wanted.length : node.data.length);
      ranges.push(range);
    }
  }
  return ranges;
}
