// Owns when a key is a shortcut: never while somebody types, in a dialog, or with a modifier; and the switch that turns
// all of them off (WCAG 2.1.4). Knows nothing of what they do.

import { keep, kept } from "./keep.js";

const KEY = "frontdesk.review.keys";
const TYPING = "input:not([type=range], [type=checkbox], [type=radio], [type=button], [type=submit]), textarea, select, [contenteditable]";
const PRESSED_BY_SPACE = "button, a, summary, input, select, [role=tab]";

export function wireShortcuts(actions, toggle) {
  toggle.checked = kept(KEY, "on") === "on";
  toggle.addEventListener("change", () => keep(KEY, toggle.checked ? "on" : "off"));
  document.addEventListener("keydown", (event) => {
    if (!toggle.checked || event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey) return;
    const target = event.target instanceof Element ? event.target : document.body;
    if (target.closest(TYPING) || document.querySelector("dialog[open]")) return;
    if (event.key === " " && target.closest(PRESSED_BY_SPACE)) return;
    const name = event.shiftKey && event.key.startsWith("Arrow") ? `Shift+${event.key}` : event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (!Object.hasOwn(actions, name)) return;
    event.preventDefault();
    actions[name]();
  });
}
