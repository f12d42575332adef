// Owns the sound of the receptionist: a queue on the audio thread behind a volume. Knows nothing of the call.
import { SAMPLE_RATE, SAMPLES_PER_MS, decode, toFloats } from "./pcm.js";
import { muLaw } from "./telephone.js";

const ANSWER_MS = 250;
const milliseconds = (samples) => Math.floor(samples / SAMPLES_PER_MS);

export class Player {
  /** Must be called inside the caller's tap, before anything is awaited: some browsers stay silent otherwise. */
  constructor({ worklet, volume, on }) {
    this.on = on; // {progress(item, ms), started(), drained(), level(value), underrun()}
    this.context = new AudioContext({ sampleRate: SAMPLE_RATE, latencyHint: "interactive" });
    this.resumed = this.context.resume();
    this.gain = this.context.createGain();
    this.output = this.gain; // what is heard, before the line that a telephone would be
    this.volume = volume;
    this.sent = 0; // number of the last chunk handed to the audio thread
    this.busy = false;
    this.heard = new Map(); // samples of each item that was cut off, as far as it had been played
    this.skip = { item: null, samples: 0 };
    this.onTheLine = false;
    this.ready = this.load(worklet);
    this.ready.catch(() => {}); // whoever awaits `ready` hears of it; without a listener the browser complains
  }

  async load(worklet) {
    await Promise.all([this.context.audioWorklet.addModule(worklet), this.resumed]);
    this.node = new AudioWorkletNode(this.context, "frontdesk-player", { numberOfInputs: 0, outputChannelCount: [1] });
    this.node.port.onmessage = ({ data }) => this[data.type](data);
    this.speaker = this.context.createGain();
    this.speaker.connect(this.context.destination);
    this.node.connect(this.gain).connect(this.speaker);
  }

  /** Let it be heard as over a telephone. */
  set telephone(on) {
    if (on === this.onTheLine) return;
    this.onTheLine = on;
    const [first, last] = (this.line ??= telephoneLine(this.context));
    this.gain.disconnect(on ? this.speaker : first);
    this.gain.connect(on ? first : this.speaker);
    if (on) last.connect(this.speaker);
    else last.disconnect();
  }

  /** A port on which each block that is played is posted, for who lives in another context. */
  reference() {
    const { port1, port2 } = new MessageChannel();
    this.node.port.postMessage({ type: "refer", port: port1 }, [port1]);
    return port2;
  }

  /** From 0 to 1; at 1 the sound is passed on as it came. Squared, since ears are not linear. */
  set volume(value) {
    this.gain.gain.value = value * value;
  }

  play(item, base64) {
    const samples = this.unheard(item, toFloats(decode(base64)));
    if (samples.length === 0) return;
    this.sent += 1;
    this.node.port.postMessage({ type: "play", item, samples, number: this.sent }, [samples.buffer]);
    if (this.busy) return;
    this.busy = true;
    this.on.started();
  }

  /** The sound that comes next of the item begins at `ms` of it; what of that was heard before the line broke is left out. */
  goOn(item, ms) {
    const begins = ms * SAMPLES_PER_MS;
    const played = Math.max(begins, this.heard.get(item) ?? 0);
    this.skip = { item, samples: played - begins };
    this.node.port.postMessage({ type: "goOn", item, played });
  }

  finish(item) {
    this.node.port.postMessage({ type: "finish", item });
  }

  /** Be silent at once. Resolves to what was cut: a list of {item_id, played_ms, received_ms}. */
  interrupt() {
    return new Promise((resolve) => {
      this.cut = resolve;
      this.node.port.postMessage({ type: "clear" });
      setTimeout(() => resolve([]), ANSWER_MS); // a context that the system has suspended does not answer
    });
  }

  async close() {
    if (this.context.state !== "closed") await this.context.close();
  }

  get latencyMs() {
    return Math.ceil(((this.context.outputLatency ?? 0) + (this.context.baseLatency ?? 0)) * 1000);
  }

  wake() {
    if (this.context.state !== "running" && this.context.state !== "closed") this.context.resume();
  }

  progress({ item, played }) {
    this.on.progress(item, milliseconds(played));
  }

  drained({ number }) {
    if (!this.busy || number !== this.sent) return; // more is already on its way there
    this.busy = false;
    this.on.drained();
  }

  unheard(item, samples) {
    if (item !== this.skip.item || this.skip.samples === 0) return samples;
    const left = samples.slice(this.skip.samples);
    this.skip.samples -= samples.length - left.length;
    return left;
  }

  cleared({ items }) {
    this.heard = new Map(items.map(({ item, played }) => [item, played]));
    this.cut?.(items.map(({ item, played, received }) => ({
      item_id: item, played_ms: milliseconds(played), received_ms: milliseconds(received),
    })));
  }

  level({ level }) {
    this.on.level(level);
  }

  underrun() {
    this.on.underrun();
  }
}

/** The first and the last node of a line: 300 to 3,400 Hz, in the steps of mu-law. It changes no sound's length. */
function telephoneLine(context) {
  const low = new BiquadFilterNode(context, { type: "highpass", frequency: 300 });
  const high = new BiquadFilterNode(context, { type: "lowpass", frequency: 3400, Q: 1 });
  const steps = Float32Array.from({ length: 16385 }, (_, i) => muLaw(i / 8192 - 1));
  const line = new WaveShaperNode(context, { curve: steps });
  low.connect(high).connect(line);
  return [low, line];
}
