// Owns the caller's microphone during a call: which one it is, what is kept back of it, what takes its place when it
// goes. Knows nothing of what is said, or of when it may leave the browser.
import { Microphone, problemOf } from "./microphone.js";
import { SAMPLES_PER_MS } from "./pcm.js";
import { QuietWatch } from "./quiet_watch.js";
import { SoundReport } from "./sound_report.js";

const MOST_LOST = 3; // microphones of one call: a loose plug would ask for ever

export class Ear {
  /**
   * `likes`: {device, echoGuard, telephone}. `on`: {frame(samples, level, remarkOn), opened(device), hint(name), gone()};
   * `remarkOn(status)` says what is odd about the sound while the call is in that state.
   */
  constructor({ likes, worklet, on }) {
    Object.assign(this, { likes, worklet, on, microphone: null });
    this.turn = 0; // grows with each microphone that is asked for or given back
  }

  /** Resolves to whether it listens now. Rejects as getUserMedia does. `player` is what may come back as an echo. */
  async open(player) {
    Object.assign(this, { player, lost: 0, report: new SoundReport() });
    const taken = await this.take();
    if (this.likes.telephone) player.telephone = true;
    return taken;
  }

  /** Resolves to whether the microphone is in use: whoever chose another or hung up meanwhile wants it no more. */
  async take() {
    const turn = (this.turn += 1);
    const watch = new QuietWatch();
    let microphone;
    try {
      microphone = await Microphone.open({
        device: this.likes.device,
        player: this.player,
        worklet: this.worklet,
        guard: this.likes.echoGuard,
        onFrame: (frame) => microphone === this.microphone && this.hear(frame, watch),
        onLost: () => microphone === this.microphone && this.replace(),
      });
    } catch (error) {
      if (turn === this.turn) throw error;
      return false;
    }
    if (turn !== this.turn) {
      await microphone.close();
      return false;
    }
    const old = this.microphone;
    this.microphone = microphone;
    await old?.close();
    if (this.likes.telephone) microphone.telephone = true;
    this.on.opened(microphone.device);
    return true;
  }

  hear({ samples, level, silencedMs }, watch) {
    const ms = samples.length / SAMPLES_PER_MS;
    this.due = this.report.frame(ms, silencedMs) ?? this.due;
    this.on.frame(samples, level, (status) => watch.push(level, ms, status));
  }

  /** Listen to another microphone; the call goes on, with the old one when the new one cannot be opened. */
  async use(device) {
    this.likes.device = device;
    if (!this.microphone) return;
    await this.take().catch((error) => this.on.hint(problemOf(error)));
  }

  /** The microphone is gone: the default one takes its place, or none. */
  async replace() {
    this.close();
    this.likes.device = "";
    this.lost += 1;
    try {
      if (this.lost > MOST_LOST) throw new DOMException("Lost too often", "NotFoundError");
      if (await this.take()) this.on.hint("other_microphone");
    } catch {
      this.on.gone();
    }
  }

  /** "guarded": what is only the receptionist's echo is not sent; "half_duplex": nothing is, while it speaks. */
  guard(mode) {
    this.likes.echoGuard = mode;
    if (this.microphone) this.microphone.guard = mode;
  }

  /** Send and hear as over a telephone line. */
  telephone(on) {
    if (this.likes.telephone === on) return;
    this.likes.telephone = on;
    if (this.microphone) this.microphone.telephone = this.player.telephone = on;
  }

  /** Something was plugged in or out: the echo may come from another loudspeaker. */
  devicesChanged() {
    this.microphone?.forget();
  }

  /** The totals that are due, once, or null. */
  news() {
    const { due } = this;
    this.due = null;
    return due ?? null;
  }

  close() {
    this.turn += 1;
    this.microphone?.close();
    this.microphone = null;
  }
}
