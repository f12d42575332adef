// Owns one call: microphone, player and socket, and what each is told. Decides nothing about what is shown.
import { inCall, microphoneOpen, starting, status } from "./call_state.js";
import { Ear } from "./ear.js";
import { obstacle, problemOf } from "./microphone.js";
import { SAMPLES_PER_MS, encode, toPcm16 } from "./pcm.js";
import { Player } from "./player.js";
import { Line } from "./line.js";
import { NoCall, RealtimeSocket } from "./realtime_socket.js";
import { Replies } from "./replies.js";
import * as request from "./session_requests.js";

const FLICKER_MS = 400; // the next burst of a reply may be this late before the page says that it is over
const LAST_SOUND_MS = 15_000;
const CLOSE_WAIT_MS = 2_000;
const SHORTEST_HOLD_MS = 160; // the Realtime API refuses less than 100 ms
// When the caller mutes in mid-sentence no sound leaves any more, so the server would wait for its end for ever.
const ENDING_FRAMES = 40;
const SILENT_FRAME = encode(new Int16Array(960));
const HARMLESS = new Set([
  "response_cancel_not_active", "input_audio_buffer_commit_empty", "conversation_already_has_active_response",
  "event_not_allowed", "invalid_value",
]);

const delay = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

export class Call {
  /** `likes`: {volume, moreTime, echoGuard, device, telephone}; `onMicrophone(device)` when one has been opened. */
  constructor({ settings, store, levels, likes, passes, onMicrophone }) {
    Object.assign(this, { settings, store, levels, likes, passes });
    this.ear = new Ear({
      likes,
      worklet: settings.microphoneWorklet,
      on: {
        frame: (...frame) => this.fromMicrophone(...frame),
        opened: onMicrophone,
        hint: (hint) => store.dispatch({ type: "hint", hint }),
        gone: () => this.lostMicrophone(),
      },
    });
    store.watch(({ state }, { state: before }) => this.follow(state, before));
  }

  /** Must be called inside the tap: the player is made here, before anything is awaited. */
  start(mode, recording) {
    this.enter(mode, (line) => line.begin(recording));
  }

  /** Go on with the call that this tab was in before it was loaded anew. Must be called inside the tap too. */
  goOn({ token, mode, leftMs }) {
    const until = performance.now() + leftMs;
    this.enter(mode, (line) => line.goOn(token, until), { again: true });
  }

  enter(mode, connect, { again = false } = {}) {
    const attempt = (this.attempt = { replies: new Replies(), unsent: new Map(), cut: [], again });
    this.passes.mode = mode;
    this.store.dispatch({ type: "start", mode });
    const problem = mode === "voice" ? obstacle() : null;
    if (problem) return this.store.dispatch({ type: "failed", problem });
    if (mode === "voice") this.openPlayer();
    this.connect(attempt, mode, connect).catch((error) => this.failed(attempt, error));
  }

  async connect(attempt, mode, connect) {
    if (mode === "voice") {
      await this.ear.open(this.player);
      this.dispatchFor(attempt, { type: "microphone_ready" });
    }
    if (attempt !== this.attempt) return;
    this.line = new Line({
      settings: this.settings,
      passes: this.passes,
      on: {
        event: (event) => this.fromServer(event),
        lost: () => this.lostLine(attempt),
        back: () => this.backOnLine(attempt),
        trying: (tries) => this.dispatchFor(attempt, { type: "trying", tries }),
        ended: (code) => {
          attempt.closed = true;
          this.dispatchFor(attempt, { type: "closed", code });
        },
      },
    });
    await connect(this.line);
  }

  failed(attempt, error) {
    const expected = error instanceof NoCall || error instanceof DOMException;
    if (!expected) console.error(error); // a fault of this page, not of the caller's device
    this.dispatchFor(attempt, { type: "failed", problem: error.problem ?? problemOf(error) });
  }

  dispatchFor(attempt, event) {
    if (attempt === this.attempt) this.store.dispatch(event);
  }

  // What the caller does.

  async say(text) {
    const id = request.newItemId();
    this.attempt.unsent.set(id, text);
    this.store.dispatch({ type: "typed", id, text });
    if (this.store.state.phase !== "live") return; // it is sent when the line is there again
    await this.cutIn();
    this.sendText(id, text);
  }

  sendText(id, text) {
    this.line.send(request.message(id, text));
    this.line.send(request.RESPOND);
    this.store.dispatch({ type: "asked" });
  }

  mute(on) {
    if (on) this.endSentence();
    this.store.dispatch({ type: "mute", on });
  }

  async pushToTalk(on) {
    if (this.store.state.holding) await this.hold(false); // what was said until now is said
    this.store.dispatch({ type: "push_to_talk", on });
    this.tellListening();
  }

  /** Wait longer before a pause counts as the end of what the caller says. */
  moreTime(on) {
    this.likes.moreTime = on;
    this.tellListening();
  }

  tellListening() {
    const { pushToTalk, mode } = this.store.state;
    if (!inCall(this.store.state) || mode === "text") return;
    this.line.send(request.listening({ pushToTalk, moreTime: this.likes.moreTime }));
  }

  async hold(on) {
    const before = this.store.state;
    this.store.dispatch({ type: "hold", on });
    if (before.holding === this.store.state.holding) return;
    if (on) {
      this.heldMs = 0;
      this.line.send(request.CLEAR);
      await this.cutIn();
    } else if (this.heldMs < SHORTEST_HOLD_MS) {
      this.line.send(request.CLEAR);
      this.store.dispatch({ type: "hint", hint: "too_short" });
    } else {
      this.line.send(request.COMMIT);
      this.line.send(request.RESPOND);
      this.store.dispatch({ type: "asked" });
    }
  }

  answer(token, answer) {
    this.store.dispatch({ type: "answer", token, answer });
    this.line.send(request.confirm(token, answer));
  }

  /** Must be called inside the tap when the mode is voice. */
  setMode(mode) {
    if (mode === "voice") return this.useVoice();
    this.endSentence();
    this.store.dispatch({ type: "mode", mode });
    this.line.send(request.answering(mode));
    this.silence();
    this.closeMicrophone();
  }

  useVoice() {
    const problem = obstacle();
    if (problem) return this.store.dispatch({ type: "hint", hint: problem });
    const attempt = this.attempt;
    if (!this.player) this.openPlayer();
    this.ear.open(this.player).then(
      (taken) => {
        if (!taken || attempt !== this.attempt) return;
        this.store.dispatch({ type: "mode", mode: "voice" });
        this.line.send(request.answering("voice"));
        this.tellListening();
      },
      (error) => this.dispatchFor(attempt, { type: "hint", hint: problemOf(error) }),
    );
  }

  setVolume(volume) {
    this.likes.volume = volume;
    if (this.player) this.player.volume = volume;
  }

  hangUp() {
    this.store.dispatch({ type: "hang_up" });
  }

  // What the server says.

  fromServer(event) {
    const { replies } = this.attempt;
    if (event.type === "response.output_audio.delta") return this.hear(event);
    if (event.type === "input_audio_buffer.speech_started") this.silence();
    this.store.dispatch(event);
    if (event.type === "session.created") this.introduce();
    if (event.type === "frontdesk.playback") this.player?.goOn(event.item_id, event.played_ms);
    if (event.type === "frontdesk.resume") this.upToDate();
    if (event.type === "conversation.item.added") this.attempt.unsent.delete(event.item.id);
    if (event.type === "response.created") replies.began(event.response.id);
    if (event.type === "response.done") replies.ended(event.response.id);
    if (event.type === "response.output_item.added") replies.added(event);
    if (event.type === "response.output_text.delta") replies.reached(event.item_id);
    if (event.type === "response.output_audio.done" && !replies.dropped(event)) this.player?.finish(event.item_id);
    if (event.type === "error") this.refused(event.error);
  }

  hear(event) {
    const { replies } = this.attempt;
    if (replies.dropped(event) || this.store.state.mode === "text") return;
    replies.reached(event.item_id, event.response_id);
    this.player.play(event.item_id, event.delta);
  }

  introduce() {
    const { mode, pushToTalk } = this.store.state;
    if (mode === "text" || this.attempt.again) this.line.send(request.answering(mode));
    if (pushToTalk || this.likes.moreTime || this.attempt.again) this.tellListening();
  }

  /** The server has told all that this page had missed: what it has missed itself is said again. */
  upToDate() {
    for (const [id, text] of this.attempt.unsent) this.sendText(id, text);
  }

  refused(error) {
    const id = request.refusedItem(error);
    if (id) {
      this.attempt.unsent.delete(id);
      this.store.dispatch({ type: "not_sent", id });
    } else if (!HARMLESS.has(error.code)) {
      this.store.dispatch({ type: "hint", hint: error.code === "audio_too_fast" ? error.code : "server" });
    }
  }

  // A line that breaks.

  /** Be silent, and know how far the reply had got: it goes on from there. */
  lostLine(attempt) {
    this.store.dispatch({ type: "lost" });
    attempt.again = true; // what is chosen meanwhile cannot be told
    attempt.replies = new Replies();
    attempt.cut = this.player?.interrupt() ?? Promise.resolve([]);
  }

  async backOnLine(attempt) {
    const cut = await attempt.cut;
    const last = cut.at(-1);
    if (last && attempt === this.attempt) this.line.send(request.playback(last.item_id, last.played_ms));
  }

  /** The caller wants no more of a call that waits for this tab: it need not wait. */
  giveUp(waiting) {
    this.passes.forget();
    if (!waiting) return;
    const ignored = { onEvent() {}, onClose() {} };
    RealtimeSocket.resume(this.settings, waiting.token, ignored).then((socket) => socket.hangUp(), () => {});
  }

  /** The page goes away, perhaps to be loaded anew: its devices are given back, and the call waits for a while. */
  leave() {
    this.line?.leave();
    this.store.dispatch({ type: "left" });
  }

  // Silence.

  /** Drop what is queued and what is still to come of the replies so far, and tell what was heard of them. */
  async silence() {
    const { replies } = this.attempt;
    const unheard = replies.drop();
    const cut = this.player ? await this.player.interrupt() : [];
    for (const { item_id: item, played_ms: played } of cut) this.line?.send(request.playback(item, played));
    this.store.dispatch({ type: "interrupted", items: [...cut, ...unheard] });
    return cut;
  }

  /** The caller takes the turn by hand: no voice activity tells the server, so that the page does. */
  async cutIn() {
    const { mode, playing } = this.store.state;
    const { active } = this.attempt.replies;
    if (mode === "text" || (!playing && !active)) return;
    if (active) this.line.send(request.cancel(active));
    for (const { item_id: item, played_ms: played } of await this.silence()) {
      this.line.send(request.truncate(item, played));
    }
  }

  endSentence() {
    const { callerSpeaking, pushToTalk } = this.store.state;
    if (!callerSpeaking || pushToTalk) return;
    for (let frame = 0; frame < ENDING_FRAMES; frame += 1) this.line.sendAudio(SILENT_FRAME);
  }

  // Devices.

  openPlayer() {
    this.player = new Player({
      worklet: this.settings.playerWorklet,
      volume: this.likes.volume,
      on: {
        started: () => {
          clearTimeout(this.drainedTimer);
          this.store.dispatch({ type: "playback_started" });
        },
        drained: () => {
          this.drainedTimer = setTimeout(() => this.store.dispatch({ type: "playback_ended" }), FLICKER_MS);
        },
        progress: (item, ms) => this.line?.send(request.playback(item, ms)),
        level: (level) => this.levels.agent(level),
        underrun: () => this.ear.report?.underrun(),
      },
    });
  }

  fromMicrophone(samples, level, remarkOn) {
    const { state } = this.store;
    this.levels.caller(level);
    const remark = remarkOn(status(state));
    if (remark === "sound") this.store.dispatch({ type: "heard_something" });
    else if (remark) this.store.dispatch({ type: "hint", hint: remark });
    if (!microphoneOpen(state)) return;
    this.heldMs += samples.length / SAMPLES_PER_MS;
    if (!this.line.sendAudio(encode(toPcm16(samples)))) this.ear.report.dropped();
    const totals = this.ear.news();
    if (totals) this.line.send(request.soundReport(totals));
  }

  lostMicrophone() {
    this.setMode("text");
    this.store.dispatch({ type: "hint", hint: "microphone_lost" });
  }

  closeMicrophone() {
    this.ear.close();
    this.levels.caller(0);
  }

  // The end.

  /** Whatever ended the call, its devices are given back: nothing but the state decides. */
  follow(state, before) {
    if (state.phase === before.phase) return;
    if (state.phase === "closing") this.settle(this.attempt);
    else if (!starting(state) && !inCall(state)) this.release();
  }

  /** Let the goodbye be heard to its end. */
  async settle(attempt) {
    this.closeMicrophone();
    for (let waited = 0; !attempt.closed && waited < CLOSE_WAIT_MS; waited += 50) await delay(50);
    for (let waited = 0; this.player?.busy && waited < LAST_SOUND_MS; waited += 50) await delay(50);
    await delay(this.player?.latencyMs ?? 0);
    this.dispatchFor(attempt, { type: "settled" });
  }

  release() {
    this.attempt = null;
    clearTimeout(this.drainedTimer);
    this.closeMicrophone();
    this.player?.close();
    this.line?.hangUp();
    this.player = this.line = null;
    this.levels.agent(0);
  }

  /** The page is shown again, or the system has taken the sound away for a while. */
  wake() {
    this.player?.wake();
  }
}
