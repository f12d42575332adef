// Owns when a microphone seems dead, or is talked into while muted. Pure: the level of each frame in, a remark out.

const FLAT_MS = 5_000;
const VOICE_MS = 400;
const FLAT_LEVEL = 0.004; // -48 dBFS: below any voice, above the hiss of a live room after noise suppression
const VOICE_LEVEL = 0.03;

export class QuietWatch {
  flatMs = 0;
  voiceMs = 0;

  /** "quiet" once after 5 s without sound while listening; "sound" when it is back; "talking_muted" while muted. */
  push(level, ms, status) {
    const voiceMs = this.voiceMs;
    this.voiceMs = status === "muted" && level > VOICE_LEVEL ? voiceMs + ms : 0;
    if (voiceMs < VOICE_MS && this.voiceMs >= VOICE_MS) return "talking_muted";
    const flatMs = this.flatMs;
    if (level > FLAT_LEVEL) {
      this.flatMs = 0;
      return flatMs >= FLAT_MS ? "sound" : null;
    }
    if (status !== "listening") return null;
    this.flatMs += ms;
    return flatMs < FLAT_MS && this.flatMs >= FLAT_MS ? "quiet" : null;
  }
}
