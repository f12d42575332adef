// Owns the cutting of the microphone's sound into frames of 40 ms at the wire's rate. Runs on the audio thread.
import { Resampler } from "./resampler.js";

const WIRE_RATE = 24000;
const FRAME_SAMPLES = 960; // 40 ms

class Frames extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = new Resampler(sampleRate, WIRE_RATE);
    this.frame = new Float32Array(FRAME_SAMPLES);
    this.filled = 0;
  }

  process([channels]) {
    if (channels.length > 0) this.take(this.resampler.push(channels[0]));
    return true;
  }

  take(samples) {
    for (let from = 0; from < samples.length; ) {
      const some = samples.subarray(from, from + FRAME_SAMPLES - this.filled);
      this.frame.set(some, this.filled);
      this.filled += some.length;
      from += some.length;
      if (this.filled === FRAME_SAMPLES) this.handOver();
    }
  }

  handOver() {
    this.port.postMessage(this.frame, [this.frame.buffer]);
    this.frame = new Float32Array(FRAME_SAMPLES);
    this.filled = 0;
  }
}

registerProcessor("frontdesk-microphone", Frames);
