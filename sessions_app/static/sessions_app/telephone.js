// Owns what a telephone line makes of sound: 8 kHz and the mu-law of ITU-T G.711, there and back. Pure.
import { Resampler } from "./resampler.js";

const WIRE_RATE = 24000;
const LINE_RATE = 8000;
const BIAS = 33; // of 14 bits, as the table of G.711 counts them
const CLIP = 8158;
const SCALE = 8192;

/** One sample from -1 to 1, as the far end of the line hears it. */
export function muLaw(sample) {
  const magnitude = Math.min(CLIP, Math.round(Math.abs(sample) * SCALE)) + BIAS;
  const step = 2 ** (Math.floor(Math.log2(magnitude)) - 4); // sixteen even steps in each segment
  const heard = (Math.floor(magnitude / step) + 0.5) * step - BIAS;
  return (Math.sign(sample) * heard) / SCALE;
}

export class Telephone {
  down = new Resampler(WIRE_RATE, LINE_RATE);
  up = new Resampler(LINE_RATE, WIRE_RATE);

  /** Samples at 24 kHz -> what of them has come through, at 24 kHz: a few milliseconds later. */
  push(samples) {
    return this.up.push(this.down.push(samples).map(muLaw));
  }
}
