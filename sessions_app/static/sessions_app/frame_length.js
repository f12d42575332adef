// Owns how long the frames are in which the microphone's sound leaves the browser. Pure: levels in, a length out.
// An answer waits for the end of the frame with which a pause is long enough, and an interruption for the end of the one
// in which a voice begins. So frames are short while somebody speaks and in the pause after it, and long otherwise:
// each costs the server the same, however long it is.
import { SAMPLES_PER_MS } from "./pcm.js";

const LONG_MS = 40;
const SHORT_MS = 20;
const VOICE_LEVEL = 0.01; // -40 dBFS: a quiet voice may stay below, and is 20 ms later
const PAUSE_MS = 1_500; // longer than any preset takes for the end of what somebody says

export class FrameLength {
  quietMs = PAUSE_MS;

  /** A block of so many samples was as loud as this, from 0 to 1. */
  push(level, samples) {
    this.quietMs = level > VOICE_LEVEL ? 0 : this.quietMs + samples / SAMPLES_PER_MS;
  }

  /** How many samples the next frame has. */
  get samples() {
    return (this.quietMs < PAUSE_MS ? SHORT_MS : LONG_MS) * SAMPLES_PER_MS;
  }
}
