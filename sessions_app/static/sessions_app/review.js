// Joins the review page's parts: transcript, search, player, panel, keys, event log. Owns no state of its own.

import { byId, fill, jsonOf } from "./dom.js";
import { PlayerBar } from "./player_bar.js";
import { clock, fromAddress } from "./review_time.js";
import { wireShortcuts } from "./shortcuts.js";
import { makeTabs } from "./tabs.js";
import { Search, Transcript } from "./transcript.js";

const { peaks, durationMs, texts } = jsonOf("page-data");
const TOAST_MS = 4_000;

const announce = (text) => {
  byId("announcement").textContent = text;
};

let toastTimer = 0;
function toast(text) {
  announce(text);
  byId("toast").textContent = text;
  byId("toast").hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => (byId("toast").hidden = true), TOAST_MS);
}

document.documentElement.classList.add("scripted");
makeTabs(byId("panel"));

// What sticks to the top and the bottom covers lines: how much, the style sheet must know.
for (const [name, part] of [["--head", document.querySelector(".review-head")], ["--foot", byId("player")]]) {
  const tell = () => document.documentElement.style.setProperty(name, `${part.offsetHeight}px`);
  new ResizeObserver(tell).observe(part);
  tell();
}

const transcript = new Transcript();
const speaking = (ms) => transcript.speaking(ms);
const player = byId("sound") ? new PlayerBar({ peaks, durationMs, texts, speaking, announce }) : null;
let chosenMs = 0; // where a call without sound is being read
const now = () => (player ? player.atMs : chosenMs);

function goTo(ms) {
  if (player) player.seek(ms);
  else transcript.show((chosenMs = ms));
}

for (const button of document.querySelectorAll("[data-seek]")) {
  button.addEventListener("click", () => {
    goTo(Number(button.dataset.seek));
    if (player && !player.playing) player.toggle();
  });
}

if (player) {
  player.addEventListener("time", () => transcript.show(player.atMs));
  player.addEventListener("seek", () => transcript.show(player.atMs));
  const at = (selector) => transcript.rows.filter((row) => row.matches(selector)).map((row) => Number(row.dataset.at));
  player.mark("tool", at("[data-kind=tool]:not([data-failed])"));
  player.mark("failed", at("[data-failed]"));
  player.mark("guardrail", at("[data-kind=guardrail]"));
  player.mark("cut", at("[data-interrupted]"));
  const showFollowing = () => {
    byId("follow").setAttribute("aria-pressed", String(transcript.following));
    byId("return").hidden = transcript.following;
  };
  transcript.addEventListener("follow", showFollowing);
  byId("follow").addEventListener("click", () => transcript.follow(!transcript.following));
  byId("return").addEventListener("click", () => transcript.follow(true));
} else {
  transcript.follow(true);
}

const search = new Search(transcript.rows, {
  found: (rows, asked) => {
    byId("search-hits").textContent = asked ? (rows.length ? String(rows.length) : texts.no_hits) : "";
    player?.mark("hit", rows.map((row) => Number(row.dataset.at)));
  },
  chosen: (row, n, count) => {
    transcript.follow(false);
    transcript.reveal(row);
    byId("search-hits").textContent = fill(texts.hit, { n, count });
    announce(fill(texts.hit, { n, count }));
  },
});

function jump(selector, options) {
  const row = transcript.next(selector, now(), options);
  if (!row) return toast(texts.nothing_further);
  goTo(Number(row.dataset.at));
  transcript.reveal(row);
}

async function copyLink() {
  const address = new URL(location.href);
  address.searchParams.set("t", (Math.floor(now() / 100) / 10).toString());
  address.hash = "";
  history.replaceState(null, "", address);
  try {
    await navigator.clipboard.writeText(address.href);
    toast(fill(texts.copied, { at: clock(now()) }));
  } catch {
    toast(texts.not_copied);
  }
}

async function loadEventLog(address) {
  try {
    const response = await fetch(address, { headers: { Accept: "text/html" } });
    if (!response.ok) throw new Error(String(response.status));
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const part = document.importNode(page.getElementById("events"), true);
    byId("event-log-body").replaceChildren(part);
    part.querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      loadEventLog(`${byId("event-log").dataset.source}?${new URLSearchParams(new FormData(event.target))}`);
    });
    part.querySelector("[rel=next]")?.addEventListener("click", (event) => {
      event.preventDefault();
      loadEventLog(event.target.href);
    });
  } catch {
    toast(texts.log_failed);
  }
}

byId("copy-link").addEventListener("click", copyLink);
byId("open-help").addEventListener("click", () => byId("help").showModal());
byId("event-log").addEventListener("toggle", () => {
  if (byId("event-log").open && !byId("events")) loadEventLog(byId("event-log").dataset.source);
});

const withPlayer = (action) => () => player && action();
wireShortcuts(
  {
    " ": withPlayer(() => player.toggle()),
    k: withPlayer(() => player.toggle()),
    j: withPlayer(() => player.skip(-10_000)),
    l: withPlayer(() => player.skip(10_000)),
    ",": withPlayer(() => player.changeSpeed(-1)),
    ".": withPlayer(() => player.changeSpeed(1)),
    "Shift+ArrowLeft": () => jump("[data-kind=turn]", { backwards: true }),
    "Shift+ArrowRight": () => jump("[data-kind=turn]"),
    t: () => jump("[data-kind=tool]"),
    i: () => jump("[data-interrupted]"),
    e: () => jump("[data-failed], [data-kind=guardrail]"),
    f: withPlayer(() => {
      transcript.follow(!transcript.following);
      announce(transcript.following ? texts.follow_on : texts.follow_off);
    }),
    "/": () => byId("search").focus(),
    "[": () => byId("call-newer")?.click(),
    "]": () => byId("call-older")?.click(),
    "?": () => byId("help").showModal(),
    ...Object.fromEntries(
      Array.from({ length: 10 }, (_, n) => [String(n), withPlayer(() => player.seek((durationMs * n) / 10))]),
    ),
  },
  byId("keys-on"),
);

const wanted = fromAddress(location.search, durationMs);
if (wanted !== null) goTo(wanted);
