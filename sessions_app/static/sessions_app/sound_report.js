// Owns what the page counts of its own sound, and when it is worth telling. Pure: events in, totals out.

const REPORT_FRAMES = 125; // 5 s of the microphone

export class SoundReport {
  totals = { dropped_frames: 0, silenced_ms: 0, underruns: 0 };
  frames = 0;
  silencedMs = 0;
  told = "";

  dropped() {
    this.totals.dropped_frames += 1;
  }

  underrun() {
    this.totals.underruns += 1;
  }

  /** One frame of the microphone went by, `silencedMs` of it so far kept back. The totals when they are due, or null. */
  frame(silencedMs) {
    const another = silencedMs < this.silencedMs; // a new microphone counts from nothing
    this.totals.silenced_ms += another ? silencedMs : silencedMs - this.silencedMs;
    this.silencedMs = silencedMs;
    this.frames += 1;
    if (this.frames % REPORT_FRAMES !== 0) return null;
    const now = JSON.stringify(this.totals);
    if (now === this.told || !Object.values(this.totals).some(Boolean)) return null;
    this.told = now;
    return { ...this.totals };
  }
}
