// Owns the two spellings of sound: base64 PCM16 as the wire has it, and floats as Web Audio has them.
// Knows no sample rate but the wire's.

export const SAMPLE_RATE = 24000;
export const SAMPLES_PER_MS = SAMPLE_RATE / 1000;
const SCALE = 32768;

/** floats from -1 to 1 -> Int16Array. Rounds and clamps with one scale for both signs, so that it undoes `toFloats`. */
export function toPcm16(floats) {
  const pcm = new Int16Array(floats.length);
  for (let i = 0; i < floats.length; i += 1) {
    pcm[i] = Math.max(-SCALE, Math.min(SCALE - 1, Math.round(floats[i] * SCALE)));
  }
  return pcm;
}

export function toFloats(pcm) {
  const floats = new Float32Array(pcm.length);
  for (let i = 0; i < pcm.length; i += 1) floats[i] = pcm[i] / SCALE;
  return floats;
}

export function encode(pcm) {
  return btoa(String.fromCharCode(...new Uint8Array(pcm.buffer, pcm.byteOffset, pcm.byteLength)));
}

/** base64 -> Int16Array. An odd last byte, which a whole sample cannot have, is dropped. */
export function decode(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Int16Array(bytes.buffer, 0, bytes.length >> 1);
}

/** Loudness from 0 to 1: root mean square. */
export function loudness(floats) {
  let sum = 0;
  for (const value of floats) sum += value * value;
  return floats.length ? Math.sqrt(sum / floats.length) : 0;
}
