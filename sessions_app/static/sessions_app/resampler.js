// Owns the change of rate of a stream of samples, by a windowed sinc that also keeps out what would fold back.
// Knows nothing of audio nodes. Equal rates pass through untouched.

const ZERO_CROSSINGS = 12;

export class Resampler {
  constructor(from, to) {
    this.step = from / to;
    this.cutoff = Math.min(1, to / from);
    this.reach = Math.ceil(ZERO_CROSSINGS / this.cutoff);
    this.history = new Float32Array(this.reach * 2);
    this.position = this.reach; // of the next output sample, in samples of the history
  }

  /** The output samples that `input` completes. */
  push(input) {
    if (this.step === 1) return input;
    const samples = new Float32Array(this.history.length + input.length);
    samples.set(this.history);
    samples.set(input, this.history.length);
    const output = [];
    while (this.position + this.reach < samples.length) {
      output.push(this.at(samples, this.position));
      this.position += this.step;
    }
    const consumed = Math.max(0, Math.floor(this.position) - this.reach);
    this.history = samples.slice(consumed);
    this.position -= consumed;
    return Float32Array.from(output);
  }

  at(samples, position) {
    const middle = Math.floor(position);
    let sum = 0;
    for (let i = middle - this.reach + 1; i <= middle + this.reach; i += 1) {
      sum += (samples[i] ?? 0) * this.weight(position - i);
    }
    return sum;
  }

  weight(distance) {
    const share = distance / this.reach;
    if (Math.abs(share) >= 1) return 0;
    const x = Math.PI * distance * this.cutoff;
    const sinc = x === 0 ? 1 : Math.sin(x) / x;
    return this.cutoff * sinc * (0.5 + 0.5 * Math.cos(Math.PI * share));
  }
}
