// Owns the cutting of the microphone's sound into frames at the wire's rate, without the receptionist's echo.
// Runs on the audio thread. Inputs: the microphone, and what is being played. In: {type: "guard", mode},
// {type: "telephone", on}, {type: "restart"} when the loudspeaker may be another, {type: "stop"}, and
// {type: "reference", port} where what is played lives in another context.
// Out, for each frame: {samples, level, silencedMs}.
import { BLOCK_SAMPLES } from "./echo_gate.js";
import { EchoGuard } from "./echo_guard.js";
import { FrameLength } from "./frame_length.js";
import { loudness } from "./pcm.js";
import { Resampler } from "./resampler.js";
import { Telephone } from "./telephone.js";

const WIRE_RATE = 24000;
const LONGEST_WAIT_SAMPLES = 4800; // 200 ms: more than this of the other context's sound is late, not early
const NOTHING = new Float32Array(128);

/** Samples that come in one measure and leave in another. */
class Queue {
  samples = new Float32Array(0);

  push(more) {
    const all = new Float32Array(this.samples.length + more.length);
    all.set(this.samples);
    all.set(more, this.samples.length);
    this.samples = all;
  }

  /** The first `count` samples; silence for those that have not come. */
  shift(count) {
    const first = new Float32Array(count);
    first.set(this.samples.subarray(0, count));
    this.samples = this.samples.slice(count);
    return first;
  }

  get length() {
    return this.samples.length;
  }
}

class Frames extends AudioWorkletProcessor {
  constructor({ processorOptions }) {
    super();
    this.microphone = { rate: new Resampler(sampleRate, WIRE_RATE), queue: new Queue() };
    this.played = { rate: new Resampler(sampleRate, WIRE_RATE), queue: new Queue() };
    this.ready = new Queue(); // guarded, to be framed
    this.guard = new EchoGuard(processorOptions.guard);
    this.length = new FrameLength();
    this.line = null;
    this.elsewhere = false;
    this.energy = 0; // since the last frame, of `blocks` blocks, as the microphone gave them
    this.blocks = 0;
    this.level = 0; // of the last frame
    this.port.onmessage = ({ data }) => this[`take_${data.type}`](data);
  }

  take_guard({ mode }) {
    this.guard.mode = mode;
  }

  take_stop() {
    this.stopped = true;
  }

  take_telephone({ on }) {
    this.line = on ? new Telephone() : null;
  }

  take_restart() {
    const { mode } = this.guard;
    this.guard = new EchoGuard(mode);
  }

  take_reference({ port }) {
    this.elsewhere = true;
    port.onmessage = ({ data }) => {
      this.played.queue.push(data);
      const late = this.played.queue.length - LONGEST_WAIT_SAMPLES;
      if (late > 0) this.played.queue.shift(late);
    };
  }

  process([[microphone], [played]]) {
    if (!microphone) return !this.stopped; // a muted track still has its silence
    this.microphone.queue.push(this.microphone.rate.push(microphone));
    const silence = NOTHING.subarray(0, microphone.length);
    if (!this.elsewhere) this.played.queue.push(this.played.rate.push(played ?? silence));
    while (this.microphone.queue.length >= BLOCK_SAMPLES) this.block();
    while (this.ready.length >= this.length.samples) this.handOver(this.length.samples);
    return true;
  }

  block() {
    const block = this.microphone.queue.shift(BLOCK_SAMPLES);
    this.energy += loudness(block) ** 2;
    this.blocks += 1;
    this.guard.push(block, this.played.queue.shift(BLOCK_SAMPLES));
    this.length.push(loudness(block), block.length);
    this.ready.push(this.line ? this.line.push(block) : block);
  }

  handOver(count) {
    const samples = this.ready.shift(count);
    if (this.blocks > 0) this.level = Math.sqrt(this.energy / this.blocks); // a long frame may leave as two short ones
    this.port.postMessage({ samples, level: this.level, silencedMs: this.guard.silencedMs }, [samples.buffer]);
    this.energy = this.blocks = 0;
  }
}

registerProcessor("frontdesk-microphone", Frames);
