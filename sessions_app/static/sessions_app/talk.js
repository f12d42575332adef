// Owns the start of the page: reads its settings, joins the parts, and turns what is pressed into what is asked.
import { Announcer } from "./announcer.js";
import { Call } from "./call.js";
import { inCall, starting } from "./call_state.js";
import { CaptionView } from "./caption_view.js";
import { byId, fill, jsonOf } from "./dom.js";
import { browserOf } from "./microphone_help.js";
import { watchTime } from "./pacing.js";
import { MicrophoneMenu } from "./microphone_menu.js";
import { Passes, tabStorage } from "./passes.js";
import * as memory from "./preferences.js";
import { Store } from "./store.js";
import { View } from "./view.js";

const LAST_MINUTES = 2;
const METER_GAIN = 5; // speech is seldom louder than a fifth of full scale
const DIALLING_MS = 1_000; // from the press of a telephone link until the browser hands it on

const texts = jsonOf("page-texts");
const settings = jsonOf("page-settings");
const storage = safeStorage();
const preferences = memory.load(storage);
const store = new Store({ ...preferences, pushToTalk: preferences.pushToTalk || settings.pushToTalkOnly });
const view = new View(texts);
view.browser = browserOf(navigator.userAgent, { touchPoints: navigator.maxTouchPoints });
const captions = new CaptionView({
  list: byId("captions"), scroll: byId("scroll"), toNewest: byId("to-newest"), texts: texts.captions,
});
const announcer = new Announcer({ log: byId("log"), news: byId("state-news"), alarm: byId("alarm"), texts });
const level = (id) => (value) => byId(id).style.setProperty("--level", Math.min(1, value * METER_GAIN).toFixed(3));
const menu = new MicrophoneMenu({
  select: byId("microphone"),
  row: byId("microphone-row"),
  texts: texts.misc,
  onChange: (device) => {
    call.ear.use(device);
    remember({ microphone: device });
  },
  onDevices: () => call.ear.devicesChanged(),
});
const passes = new Passes({ storage: tabStorage(), publicName: settings.publicName });
const call = new Call({
  settings,
  store,
  passes,
  levels: { caller: level("meter"), agent: level("orb") },
  likes: {
    volume: preferences.volume / 100,
    moreTime: preferences.moreTime,
    echoGuard: preferences.echoGuard ?? settings.echoGuard,
    device: preferences.microphone,
    telephone: false,
  },
  onMicrophone: (device) => menu.refresh(device),
});

watchTime(store);
store.watch((now, before) => {
  if (now.lines !== before.lines) captions.render(now.lines);
  if (now.state !== before.state) view.render(now.state, before.state);
  announcer.tell(now, before);
});
view.render(store.state, store.state);

function safeStorage() {
  try {
    return window.localStorage;
  } catch {
    return { getItem: () => null, setItem: () => {} };
  }
}

function remember(changes) {
  Object.assign(preferences, changes);
  memory.save(storage, preferences);
}

function start(mode) {
  if (store.state.phase === "idle") call.giveUp(passes.offer()); // a new call, though another waits
  const sound = settings.recordingOffered && !byId("keep-no-sound").checked;
  call.start(mode, sound ? "accepted" : "declined");
}

/** After a problem: the call that waits for this tab goes on, or else a new one begins. */
function tryAgain(mode) {
  const waiting = passes.offer();
  if (waiting) call.goOn({ ...waiting, mode });
  else start(mode);
}

const press = (id, action) => byId(id).addEventListener("click", action);
press("start-voice", () => start("voice"));
press("start-text", () => start("text"));
press("problem-retry", () => tryAgain(store.state.mode));
press("problem-type", () => tryAgain("text"));
press("again", () => store.dispatch({ type: "reset" }));
press("continue-call", () => {
  const waiting = passes.offer();
  if (waiting) call.goOn(waiting);
});
press("continue-not", () => {
  call.giveUp(passes.offer());
  offerToContinue();
  byId("welcome-title").focus();
});
press("mute", () => call.mute(!store.state.muted));
press("end", () => call.hangUp());
press("switch-mode", () => {
  if (store.state.phase === "live") call.setMode(store.state.mode === "voice" ? "text" : "voice");
});
press("recap-yes", () => call.answer(store.state.recap.token, "yes"));
press("recap-change", () => call.answer(store.state.recap.token, "change"));
press("copy-reference", async () => {
  const copied = await navigator.clipboard?.writeText(store.state.call.reference).then(() => true, () => false);
  byId("copy-reference").textContent = copied ? texts.button.copied : texts.button.not_copied;
});
store.watch(({ state }, { state: before }) => {
  if (state.call !== before.call) byId("copy-reference").textContent = texts.button.copy;
});

// Text.
const message = byId("message");
byId("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = message.value.trim();
  if (!text || !["live", "reconnecting"].includes(store.state.phase)) return;
  message.value = "";
  call.say(text);
});
message.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  byId("composer").requestSubmit();
});

// Push to talk: the button, or Space anywhere but in a control.
const hold = byId("hold");
const isControl = (target) => target.closest("input, textarea, select, button, a, summary") !== null;
const holdsWith = (event) => event.key === " " || (event.key === "Enter" && event.target === hold);
const mayHold = (target) => store.state.pushToTalk && (target === hold || !isControl(target));
hold.addEventListener("pointerdown", (event) => {
  hold.setPointerCapture(event.pointerId);
  call.hold(true);
});
for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) hold.addEventListener(name, () => call.hold(false));
hold.addEventListener("contextmenu", (event) => event.preventDefault());
// Assistive technology presses a button at once, without holding it down: such a press begins, and the next one ends.
hold.addEventListener("click", (event) => event.detail === 0 && call.hold(!store.state.holding));
document.addEventListener("keydown", (event) => {
  if (!inCall(store.state) || !holdsWith(event) || !mayHold(event.target)) return;
  event.preventDefault();
  if (!event.repeat) call.hold(true);
});
document.addEventListener("keyup", (event) => {
  if (!holdsWith(event)) return;
  if (event.target === hold) event.preventDefault(); // Firefox would click it by the key that is let go
  if (store.state.holding) call.hold(false);
});
window.addEventListener("blur", () => store.state.holding && call.hold(false));

// Preferences.
const volume = byId("volume");
volume.value = preferences.volume;
volume.addEventListener("input", () => {
  call.setVolume(volume.valueAsNumber / 100);
  remember({ volume: volume.valueAsNumber });
});
const pushToTalk = byId("push-to-talk");
pushToTalk.checked = store.state.pushToTalk;
byId("push-to-talk-row").hidden = settings.pushToTalkOnly;
pushToTalk.addEventListener("change", () => {
  call.pushToTalk(pushToTalk.checked);
  remember({ pushToTalk: pushToTalk.checked });
});
const moreTime = byId("more-time");
moreTime.checked = preferences.moreTime;
moreTime.addEventListener("change", () => {
  call.moreTime(moreTime.checked);
  remember({ moreTime: moreTime.checked });
});
const echoGuard = byId("echo-guard");
echoGuard.value = call.likes.echoGuard;
echoGuard.addEventListener("change", () => {
  call.ear.guard(echoGuard.value);
  remember({ echoGuard: echoGuard.value });
});
const telephone = byId("telephone");
byId("telephone-row").hidden = !new URLSearchParams(location.search).has("preview");
telephone.addEventListener("change", () => call.ear.telephone(telephone.checked));
const captionSize = byId("caption-size");
captionSize.value = document.body.dataset.captions = preferences.captionSize;
captionSize.addEventListener("change", () => {
  document.body.dataset.captions = captionSize.value;
  remember({ captionSize: captionSize.value });
});

// The page itself.
document.addEventListener("visibilitychange", () => {
  view.renderTitle(store.state);
  if (!document.hidden) call.wake();
});
// Chromium takes a telephone link for a way off the page, though the page stays: who dials in an emergency is not asked.
let dialledAt = -Infinity;
document.addEventListener("click", (event) => {
  if (event.target.closest('a[href^="tel:"]')) dialledAt = event.timeStamp;
}, { capture: true });
window.addEventListener("beforeunload", (event) => {
  if (event.timeStamp - dialledAt < DIALLING_MS) return;
  if (inCall(store.state) || starting(store.state)) event.preventDefault();
});
window.addEventListener("pagehide", () => call.leave());
window.addEventListener("pageshow", (event) => event.persisted && offerToContinue());

// A call that this tab was in before it was loaded anew.
let offered = null;
function offerToContinue() {
  clearTimeout(offered);
  const waiting = passes.offer();
  byId("continue").hidden = !waiting;
  if (waiting) offered = setTimeout(offerToContinue, waiting.leftMs);
}
offerToContinue();
store.watch(({ state }, { state: before }) => {
  if (state.mode !== before.mode) passes.mode = state.mode;
  if (state.phase === "idle" && before.phase !== "idle") offerToContinue();
});
setInterval(() => store.state.phase === "live" && passes.touch(), 5_000);

// The last minutes.
let endsAt = null;
store.watch(({ state }, { state: before }) => {
  if (state.call === before.call) return;
  endsAt = state.call?.maxCallS ? performance.now() + (state.call.maxCallS - state.call.elapsedS) * 1000 : null;
  showTimeLeft();
});
function showTimeLeft() {
  const minutes = endsAt === null ? Infinity : Math.max(1, Math.ceil((endsAt - performance.now()) / 60_000));
  byId("time-left").hidden = minutes > LAST_MINUTES || !inCall(store.state);
  byId("time-left").textContent = fill(texts.misc.time_left, { minutes });
}
setInterval(showTimeLeft, 5_000);
