// Owns when a microphone seems dead, or is talked into while muted. Pure: one level for each frame in, a remark out.

const FRAME_MS = 40;
const FLAT_FRAMES = 5_000 / FRAME_MS;
const VOICE_FRAMES = 400 / FRAME_MS;
const FLAT_LEVEL = 0.004; // -48 dBFS: below any voice, above the hiss of a live room after noise suppression
const VOICE_LEVEL = 0.03;

export class QuietWatch {
  flat = 0;
  voice = 0;

  /** "quiet" once after 5 s without sound while listening; "sound" when it is back; "talking_muted" while muted. */
  push(level, status) {
    this.voice = status === "muted" && level > VOICE_LEVEL ? this.voice + 1 : 0;
    if (this.voice === VOICE_FRAMES) return "talking_muted";
    if (level > FLAT_LEVEL) {
      const was = this.flat;
      this.flat = 0;
      return was >= FLAT_FRAMES ? "sound" : null;
    }
    if (status !== "listening") return null;
    this.flat += 1;
    return this.flat === FLAT_FRAMES ? "quiet" : null;
  }
}
