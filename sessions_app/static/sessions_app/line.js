// Owns the line of one call: the socket that is there, the way back when it is lost, and the sound that waits for it.
// Knows the few codes that end a call for good, and nothing of what is said.
import { SAMPLES_PER_MS } from "./pcm.js";
import { RealtimeSocket, NoCall } from "./realtime_socket.js";
import { HAS_TOKEN } from "./session_requests.js";

const GIVE_UP_MS = 60_000; // as long as a call waits for its caller
const WAITING_MS = 2_000; // of the microphone: older words would be answered too late
const LETTERS_PER_MS = (SAMPLES_PER_MS * 2 * 4) / 3; // of base64
const RESUME_TIMEOUT_MS = 5_000;
const QUICK_WAIT_MS = 2_000; // for a line of our own that broke: most are back within seconds
const QUICK_TRIES = 6;
const RESTART_WAIT_MS = 8_000; // for a server that restarts: all of its callers come back at once
const LONGEST_WAIT_MS = 30_000;
const RESTARTING = [1012, 1013];

/** Whether a call whose socket was closed so may go on: the line broke, or the server asked us to come again. */
export function mayComeBack(code) {
  return [1001, 1005, 1006, ...RESTARTING].includes(code);
}

/** How long to wait before try number `tries`, from 0: any part of a span that grows. `share` is from 0 to 1. */
export function waitMs(tries, { code, share }) {
  const restarting = RESTARTING.includes(code);
  const span = restarting ? RESTART_WAIT_MS * 2 ** tries : QUICK_WAIT_MS * 2 ** Math.max(0, tries - QUICK_TRIES);
  return share * Math.min(LONGEST_WAIT_MS, span);
}

export class Line {
  /** `on`: {event(event), lost(), trying(number), back(), ended(code)}; `passes` remembers the way back. */
  constructor({ settings, passes, on }) {
    Object.assign(this, { settings, passes, on });
    this.frames = [];
    this.tries = 0;
  }

  /** Begin a call. Resolves when its socket is open; rejects with NoCall. */
  async begin(recording) {
    const wanted = () => !this.over;
    this.take(await RealtimeSocket.open({ ...this.settings, recording }, this.handlers(), wanted));
  }

  /** Go on with the call that `token` opens and that waits `until` then, from a page that knows nothing of it yet. */
  async goOn(token, until) {
    Object.assign(this, { token, giveUpAt: until });
    if (!(await this.resume())) await this.comeBack(1006);
  }

  take(socket) {
    this.socket = socket;
    if (this.over) socket?.hangUp();
  }

  handlers() {
    const mine = {}; // what an older socket still says is not heard
    this.current = mine;
    const live = () => this.current === mine && !this.over;
    return {
      onEvent: (event) => live() && this.hear(event),
      onClose: (code) => live() && this.closed(code),
    };
  }

  hear(event) {
    if (event.type === "error" && event.error.retry_after_ms) this.toldToWaitMs = event.error.retry_after_ms;
    if (event.type === "frontdesk.ended") {
      this.token = null; // there is nothing to come back to
      this.passes.forget();
    }
    if (event.type === "frontdesk.resume") {
      this.token = event.token;
      this.passes.keep(event.token);
      this.send(HAS_TOKEN);
      this.arrived();
    }
    this.on.event(event);
  }

  /** The call stands again, and the server has told all that was missed. */
  arrived() {
    this.tries = 0;
    this.giveUpAt = null;
    for (const frame of this.frames.splice(0)) this.sendAudio(frame);
  }

  closed(code) {
    if (!this.token || !mayComeBack(code)) return this.end(code);
    if (!this.giveUpAt) {
      this.giveUpAt = performance.now() + GIVE_UP_MS;
      this.on.lost();
    }
    this.comeBack(code);
  }

  end(code) {
    this.over = true;
    this.passes.forget();
    this.on.ended(code);
  }

  async comeBack(code) {
    for (;;) {
      const wait = this.toldToWaitMs ?? waitMs(this.tries, { code, share: Math.random() });
      this.toldToWaitMs = null;
      await this.pause(Math.min(wait, this.giveUpAt - performance.now()));
      if (this.over) return;
      if (performance.now() >= this.giveUpAt) return this.end(1006);
      this.tries += 1;
      this.on.trying(this.tries);
      if (await this.resume()) return this.on.back();
    }
  }

  /** Resolves to whether the socket is open again. */
  async resume() {
    try {
      this.take(await RealtimeSocket.resume(this.settings, this.token, this.handlers(), RESUME_TIMEOUT_MS));
      return true;
    } catch (error) {
      if (!(error instanceof NoCall)) throw error;
      return false;
    }
  }

  /** Wait; a network that is there again, or a page that is shown again, cuts the waiting short. */
  pause(milliseconds) {
    return new Promise((resolve) => {
      const timer = setTimeout(done, Math.max(0, milliseconds));
      function done() {
        clearTimeout(timer);
        removeEventListener("online", done);
        document.removeEventListener("visibilitychange", shown);
        resolve();
      }
      const shown = () => !document.hidden && done();
      addEventListener("online", done);
      document.addEventListener("visibilitychange", shown);
    });
  }

  send(event) {
    if (!this.over) this.socket?.send(event);
  }

  /** Whether it was sent, or waits. While the line is lost the newest two seconds wait. */
  sendAudio(base64) {
    if (!this.giveUpAt) return this.socket.sendAudio(base64);
    this.frames.push(base64);
    let letters = this.frames.reduce((sum, frame) => sum + frame.length, 0);
    while (letters > WAITING_MS * LETTERS_PER_MS) letters -= this.frames.shift().length;
    return true;
  }

  /** The caller ends the call. */
  hangUp() {
    if (this.over) return;
    this.over = true;
    this.passes.forget();
    this.socket?.hangUp();
  }

  /** The page goes away: the browser closes the socket, and the call may go on in the next page. */
  leave() {
    this.over = true;
    this.passes.touch();
  }
}
