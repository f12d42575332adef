// Owns when a sound begins and ends, on the audio thread: of the microphone, or of what leaves for the loudspeaker.
// Out: {edge: "begins" | "ends", at}: the time of day, in ms, of the first or the last sample of a sound. A sample of
// the microphone's counts from when the page was given it; one for the loudspeaker from when its turn comes among
// those that are rendered at once. A pause shorter than `pauseMs` is no end.
class Ears extends AudioWorkletProcessor {
  constructor({ processorOptions: { threshold, pauseMs, given } }) {
    super();
    Object.assign(this, { threshold, pauseMs, given, sounding: false, lastAt: 0, now: 0, frame: 0 });
  }

  process([[samples]]) {
    const now = Date.now();
    if (now !== this.now) Object.assign(this, { now, frame: currentFrame });
    const loud = (sample) => Math.abs(sample) > this.threshold;
    const first = samples?.findIndex(loud) ?? -1;
    if (first >= 0) {
      if (!this.sounding) this.tell("begins", this.timeOf(first));
      this.sounding = true;
      this.lastAt = this.timeOf(samples.findLastIndex(loud));
    } else if (this.sounding && this.timeOf(0) - this.lastAt > this.pauseMs) {
      this.sounding = false;
      this.tell("ends", this.lastAt);
    }
    return true;
  }

  timeOf(sample) {
    return this.now + (this.given ? 0 : ((currentFrame - this.frame + sample) * 1000) / sampleRate);
  }

  tell(edge, at) {
    this.port.postMessage({ edge, at });
  }
}

registerProcessor("bench-ears", Ears);
