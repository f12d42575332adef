// Owns what becomes of the microphone's sound while the receptionist speaks. Pure: blocks in, the same blocks out,
// silenced where they are only echo, so that no sample is lost or late.
import { BLOCK_SAMPLES, EchoGate } from "./echo_gate.js";
import { loudness } from "./pcm.js";

const PLAYED = 0.001; // -60 dBFS
const ROOM_BLOCKS = 40; // an echo may be heard for 400 ms after its sound

export class EchoGuard {
  constructor(mode) {
    this.gate = new EchoGate();
    this.mode = mode;
    this.open = true;
    this.silenced = 0; // blocks
    this.room = 0;
  }

  /** Silence `microphone` in place where it is only what was `played`. Both are BLOCK_SAMPLES long. */
  push(microphone, played) {
    const before = this.open;
    this.open = this.opens(loudness(microphone), loudness(played));
    if (this.open && before) return;
    if (!this.open) this.silenced += 1;
    if (this.open === before) microphone.fill(0);
    else fade(microphone, this.open);
  }

  opens(microphone, played) {
    const other = this.gate.push(microphone, played);
    if (this.mode === "half_duplex") return !this.sounds(played);
    return this.mode === "off" || other;
  }

  sounds(played) {
    this.room = played > PLAYED ? ROOM_BLOCKS : Math.max(0, this.room - 1);
    return this.room > 0;
  }

  get silencedMs() {
    return this.silenced * 10;
  }
}

/** A step would sound like the beginning of a word. */
function fade(block, up) {
  for (let i = 0; i < BLOCK_SAMPLES; i += 1) block[i] *= (up ? i : BLOCK_SAMPLES - i) / BLOCK_SAMPLES;
}
