// Owns the queue of sound that is about to be heard, and the count of what was. Runs on the audio thread.
// In: {type: "play", item, samples, number}, {type: "finish", item}, {type: "clear"}, {type: "goOn", item, played}: what
// comes of the item follows so many samples of it; {type: "refer", port}: each block that is played is posted there too.
// Out: {type: "progress"} each 200 ms and at the end of an item, "drained", "cleared", "level", and "underrun" when an
// item goes on that had run dry.

const REPORT_SAMPLES = sampleRate / 5; // 200 ms
const LEVEL_BLOCKS = 8; // 43 ms at 24 kHz

class Player extends AudioWorkletProcessor {
  constructor() {
    super();
    this.chunks = [];
    this.items = new Map(); // id -> {played, received, finished, reported}
    this.last = 0; // number of the last chunk taken in
    this.blocks = 0;
    this.energy = 0;
    this.dry = null; // the item whose sound ran out before its end
    this.port.onmessage = ({ data }) => this[data.type](data);
  }

  play({ item, samples, number }) {
    const count = this.count(item);
    count.received += samples.length;
    if (this.dry === item) this.port.postMessage({ type: "underrun" });
    this.dry = null;
    this.chunks.push({ item, samples, at: 0 });
    this.last = number;
  }

  refer({ port }) {
    this.reference = port;
  }

  finish({ item }) {
    if (this.dry === item) this.dry = null;
    this.count(item).finished = true;
    this.endIfOver(item);
  }

  clear() {
    const cut = [...this.items].map(([item, { played, received }]) => ({ item, played, received }));
    this.chunks = [];
    this.items.clear();
    this.dry = null;
    this.port.postMessage({ type: "cleared", items: cut });
    this.port.postMessage({ type: "drained", number: this.last });
  }

  goOn({ item, played }) {
    this.items.set(item, { played, received: played, finished: false, reported: played });
  }

  count(item) {
    if (!this.items.has(item)) this.items.set(item, { played: 0, received: 0, finished: false, reported: 0 });
    return this.items.get(item);
  }

  process(inputs, [[output]]) {
    let filled = 0;
    while (filled < output.length && this.chunks.length > 0) filled += this.copy(output, filled);
    if (filled > 0 && this.chunks.length === 0) this.ranOut();
    this.reference?.postMessage(output.slice());
    this.measure(output);
    return true;
  }

  ranOut() {
    this.port.postMessage({ type: "drained", number: this.last });
    this.dry = [...this.items.keys()].at(-1) ?? null; // an item that was finished is no longer there
  }

  copy(output, filled) {
    const chunk = this.chunks[0];
    const some = chunk.samples.subarray(chunk.at, chunk.at + output.length - filled);
    output.set(some, filled);
    chunk.at += some.length;
    if (chunk.at === chunk.samples.length) this.chunks.shift();
    const count = this.count(chunk.item);
    count.played += some.length;
    if (count.played - count.reported >= REPORT_SAMPLES) this.report(chunk.item, count);
    this.endIfOver(chunk.item);
    return some.length;
  }

  endIfOver(item) {
    const count = this.items.get(item);
    if (!count?.finished || count.played < count.received) return;
    if (count.played > count.reported) this.report(item, count);
    this.items.delete(item);
  }

  report(item, count) {
    count.reported = count.played;
    this.port.postMessage({ type: "progress", item, played: count.played });
  }

  measure(output) {
    for (const sample of output) this.energy += sample * sample;
    this.blocks += 1;
    if (this.blocks < LEVEL_BLOCKS) return;
    this.port.postMessage({ type: "level", level: Math.sqrt(this.energy / (output.length * LEVEL_BLOCKS)) });
    this.blocks = 0;
    this.energy = 0;
  }
}

registerProcessor("frontdesk-player", Player);
