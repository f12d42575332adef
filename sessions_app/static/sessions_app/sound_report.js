// Owns what the page counts of its own sound, and when it is worth telling. Pure: events in, totals out.

const REPORT_MS = 5_000; // of the microphone

export class SoundReport {
  totals = { dropped_frames: 0, silenced_ms: 0, underruns: 0 };
  untoldMs = 0;
  silencedMs = 0;
  told = "";

  dropped() {
    this.totals.dropped_frames += 1;
  }

  underrun() {
    this.totals.underruns += 1;
  }

  /** A frame of `ms` went by; of the microphone's so far `silencedMs` were kept back. The totals when they are due, or null. */
  frame(ms, silencedMs) {
    const another = silencedMs < this.silencedMs; // a new microphone counts from nothing
    this.totals.silenced_ms += another ? silencedMs : silencedMs - this.silencedMs;
    this.silencedMs = silencedMs;
    this.untoldMs += ms;
    if (this.untoldMs < REPORT_MS) return null;
    this.untoldMs = 0;
    const now = JSON.stringify(this.totals);
    if (now === this.told || !Object.values(this.totals).some(Boolean)) return null;
    this.told = now;
    return { ...this.totals };
  }
}
