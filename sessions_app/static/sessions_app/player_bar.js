// Owns the player: its buttons, its position, its speed and its waveform. Tells listeners where it stands.
// Knows nothing of the transcript.

import { byId, fill } from "./dom.js";
import { keep, kept } from "./keep.js";
import { clock, spoken } from "./review_time.js";
import { Waveform } from "./waveform.js";

const SPEED_KEY = "frontdesk.review.speed";
const SKIP_MS = 10_000;
const STEP_MS = 5_000;

export class PlayerBar extends EventTarget {
  /** `speaking(ms)` says who speaks then: "caller", "agent" or "". */
  constructor({ peaks, durationMs, texts, speaking, announce }) {
    super();
    Object.assign(this, { durationMs, texts, speaking, announce });
    this.sound = byId("sound");
    this.position = byId("position");
    this.waveform = new Waveform(byId("wave"), peaks);
    this.atMs = 0;
    this.wantedMs = null; // asked for before the sound knew its length
    this.#wireButtons();
    this.#wireSound();
    this.setSpeed(kept(SPEED_KEY, "1"), { quietly: true });
    this.#show();
  }

  get playing() {
    return !this.sound.paused && !this.sound.ended;
  }

  toggle() {
    if (this.playing) this.sound.pause();
    else this.sound.play().catch(() => this.#failed());
  }

  seek(ms) {
    this.atMs = Math.max(0, Math.min(ms, this.durationMs));
    if (this.sound.readyState >= HTMLMediaElement.HAVE_METADATA) this.sound.currentTime = this.atMs / 1000;
    else this.wantedMs = this.atMs;
    this.#show();
    this.dispatchEvent(new Event("seek"));
  }

  skip(ms) {
    this.seek(this.atMs + ms);
  }

  setSpeed(value, { quietly = false } = {}) {
    const known = [...byId("speed").options].map((option) => option.value);
    if (!known.includes(value)) return;
    byId("speed").value = value;
    this.sound.playbackRate = this.sound.defaultPlaybackRate = Number(value);
    keep(SPEED_KEY, value);
    if (!quietly) this.announce(fill(this.texts.speed, { speed: value }));
  }

  changeSpeed(by) {
    const options = [...byId("speed").options].map((option) => option.value);
    const next = options[options.indexOf(byId("speed").value) + by];
    if (next) this.setSpeed(next);
  }

  /** Lay a mark of `kind` on the waveform at each of the moments; those of that kind before them go. */
  mark(kind, moments) {
    const field = byId("wave-marks");
    field.querySelectorAll(`.mark-${kind}`).forEach((old) => old.remove());
    for (const ms of moments) {
      const mark = document.createElement("span");
      mark.className = `mark mark-${kind}`;
      mark.style.left = `${this.durationMs ? (100 * ms) / this.durationMs : 0}%`;
      field.append(mark);
    }
  }

  #wireButtons() {
    byId("play").addEventListener("click", () => this.toggle());
    byId("back").addEventListener("click", () => this.skip(-SKIP_MS));
    byId("forward").addEventListener("click", () => this.skip(SKIP_MS));
    byId("speed").addEventListener("change", (event) => this.setSpeed(event.target.value));
    this.position.addEventListener("input", () => this.seek(Number(this.position.value)));
    // The range's own step is for dragging; a key moves by what people can hear.
    this.position.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -STEP_MS, ArrowDown: -STEP_MS, ArrowRight: STEP_MS, ArrowUp: STEP_MS }[event.key];
      if (by === undefined || event.shiftKey || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      this.skip(by);
    });
  }

  #wireSound() {
    const { sound } = this;
    sound.addEventListener("loadedmetadata", () => {
      if (this.wantedMs === null) return;
      sound.currentTime = this.wantedMs / 1000;
      this.wantedMs = null;
    });
    sound.addEventListener("timeupdate", () => this.#follow());
    sound.addEventListener("play", () => this.#state("playing"));
    sound.addEventListener("pause", () => this.#state("paused"));
    sound.addEventListener("ended", () => this.#state("ended"));
    sound.addEventListener("waiting", () => this.#status(this.texts.loading));
    sound.addEventListener("playing", () => this.#status(""));
    sound.addEventListener("error", () => this.#failed());
    if (sound.error) this.#failed();
  }

  #follow() {
    if (this.wantedMs !== null || this.sound.seeking) return;
    this.atMs = this.sound.currentTime * 1000;
    this.#show();
    this.dispatchEvent(new Event("time"));
  }

  #state(name) {
    const { playing } = this;
    byId("play").setAttribute("aria-label", playing ? byId("play").dataset.pause : byId("play").dataset.play);
    byId("play").querySelector("use").setAttribute("href", playing ? "#icon-pause" : "#icon-play");
    this.announce(this.texts[name]);
    if (playing) requestAnimationFrame(() => this.#glide());
  }

  // `timeupdate` comes four times a second: the playhead moves between them too.
  #glide() {
    if (!this.playing) return;
    this.#follow();
    requestAnimationFrame(() => this.#glide());
  }

  #show() {
    byId("now").textContent = clock(this.atMs);
    this.position.value = String(Math.round(this.atMs));
    const who = this.texts[this.speaking(this.atMs)];
    const where = fill(this.texts.position, {
      now: spoken(this.atMs, this.texts),
      whole: spoken(this.durationMs, this.texts),
    });
    const text = who ? `${where}, ${who}` : where;
    if (this.position.getAttribute("aria-valuetext") !== text) this.position.setAttribute("aria-valuetext", text);
    this.waveform.show(this.durationMs ? this.atMs / this.durationMs : 0);
  }

  #status(text) {
    byId("player-status").textContent = text;
  }

  #failed() {
    this.#status(this.texts.failed);
    this.announce(this.texts.failed);
  }
}
