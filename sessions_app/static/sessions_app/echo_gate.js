// Owns which of the microphone's sound is only the receptionist's own, come back from the loudspeaker. Pure.
// The browser's echo cancellation goes first; what it leaves, or cannot do, would interrupt each reply by itself.
//
// In blocks of 10 ms: how loud the microphone is, beside how loud the echo must be at this moment. That is known from
// what is being played, how late it comes back, and how much quieter; both are learned as the call goes on. What is
// clearly louder is somebody else. What merely repeats what is played, however loud, is not.

export const BLOCK_SAMPLES = 240; // 10 ms at 24 kHz
const LAGS = 50; // an echo is at most this many blocks late: Bluetooth takes 300 ms
const NEAR_LAGS = 1; // and wanders by so many
const FADE = 0.89; // of a room's echo in 10 ms: 60 dB in 0.6 s
const SILENCE = 0.001; // -60 dBFS
const AUDIBLE = 0.003; // -50 dBFS: below it nothing counts as speech anywhere
const UNKNOWN_GAIN = 2; // until it is learned, an echo may be 6 dB louder than what is played
const LEAST_GAIN = 0.01; // -40 dB
const MARGIN = 1.8; // 5 dB above the echo is somebody else
const LEARNED_BLOCKS = 300; // 3 s of echo
const ENOUGH_BLOCKS = 80;
const QUIETEST = 0.0001; // -80 dBFS
const FLOOR_RISE = 1.003; // in 10 ms: 2.6 dB a second
const ABOVE_FLOOR = 2.5; // 8 dB
const LOUD_SHARE = 0.2; // of the loudest echo: in the gaps between words a noise in the room would pass for echo
const LEAST_PEAK = 0.1; // -20 dBFS, as speech is
const PEAK_FADE = 0.998;
const SHARE_BELOW = 0.95; // of these blocks stay below the gain
const FORGET = 0.985; // of what is known of the likeness, in 10 ms: two thirds of a second
const ALIKE = 0.85; // a repetition of what is played
const KNOWN_LAG = 0.6;
const SURE_BLOCKS = 20;
const ROWS = 8; // of the last blocks
const LOUD_ROWS = 4; // must be louder
const HOLD_BLOCKS = 30; // stays open through the gaps between syllables

export class EchoGate {
  played = new Float32Array(LAGS); // how loud each of the last blocks was, the newest at `at`
  at = 0;
  sums = Array.from({ length: LAGS }, () => ({ xy: 0, x: 0, xx: 0 }));
  heard = { n: 0, y: 0, yy: 0 };
  likeness = 0;
  lag = null; // in blocks, once known
  tail = 0;
  peak = LEAST_PEAK;
  floor = 1; // of the room's own noise
  learned = 0;
  ratios = [];
  gain = UNKNOWN_GAIN;
  loud = [];
  hold = 0;

  /** Whether this block of the microphone may be passed on; both are root mean squares from 0 to 1. */
  push(microphone, played) {
    this.at = (this.at + 1) % LAGS;
    this.played[this.at] = played;
    this.floor = Math.max(QUIETEST, Math.min(microphone, this.floor * FLOOR_RISE));
    const echo = this.echo();
    if (echo < SILENCE) return this.rest();
    this.compare(microphone);
    const alike = this.likeness > ALIKE;
    const least = Math.max(AUDIBLE, ABOVE_FLOOR * this.floor, MARGIN * this.gain * echo);
    const open = this.judge(microphone > least && !alike);
    this.peak = Math.max(echo, LEAST_PEAK, this.peak * PEAK_FADE);
    if ((!open || alike) && echo > LOUD_SHARE * this.peak) this.learn(microphone / echo);
    return open;
  }

  /** How loud what may come back now was when it was played. */
  echo() {
    let loudest = 0;
    const [from, to] = this.lag === null ? [0, LAGS - 1] : [this.lag - NEAR_LAGS, this.lag + NEAR_LAGS];
    for (let lag = Math.max(0, from); lag <= Math.min(LAGS - 1, to); lag += 1) {
      loudest = Math.max(loudest, this.before(lag));
    }
    this.tail = Math.max(loudest, this.tail * FADE);
    return this.tail;
  }

  before(lag) {
    return this.played[(this.at - lag + LAGS) % LAGS];
  }

  /** Nothing is played: all is passed on, and what was learned is kept for the next reply. */
  rest() {
    this.loud = [];
    this.hold = 0;
    return true;
  }

  /** Correlate how loud both are, at each lag. */
  compare(y) {
    const { heard } = this;
    heard.n = heard.n * FORGET + 1;
    heard.y = heard.y * FORGET + y;
    heard.yy = heard.yy * FORGET + y * y;
    let best = 0;
    let at = null;
    for (let lag = 0; lag < LAGS; lag += 1) {
      const likeness = this.likenessAt(lag, y);
      if (likeness > best) [best, at] = [likeness, lag];
    }
    this.likeness = heard.n > SURE_BLOCKS ? best : 0;
    if (this.likeness > KNOWN_LAG) this.lag = at;
  }

  likenessAt(lag, y) {
    const sum = this.sums[lag];
    const { n, y: sumY, yy } = this.heard;
    const x = this.before(lag);
    sum.xy = sum.xy * FORGET + x * y;
    sum.x = sum.x * FORGET + x;
    sum.xx = sum.xx * FORGET + x * x;
    const spread = (sum.xx - (sum.x * sum.x) / n) * (yy - (sumY * sumY) / n);
    return spread > 1e-12 ? (sum.xy - (sum.x * sumY) / n) / Math.sqrt(spread) : 0;
  }

  judge(louder) {
    this.loud.push(louder);
    if (this.loud.length > ROWS) this.loud.shift();
    if (this.loud.filter(Boolean).length >= LOUD_ROWS) this.hold = HOLD_BLOCKS;
    else if (this.hold > 0) this.hold -= 1;
    return this.hold > 0;
  }

  /** Take the echo's gain from what has come back lately. */
  learn(ratio) {
    this.ratios.push(ratio);
    if (this.ratios.length > LEARNED_BLOCKS) this.ratios.shift();
    this.learned += 1;
    if (this.ratios.length < ENOUGH_BLOCKS || this.learned % 10 !== 0) return;
    const sorted = Float32Array.from(this.ratios).sort();
    this.gain = Math.max(LEAST_GAIN, sorted[Math.floor(sorted.length * SHARE_BELOW)]);
  }
}
