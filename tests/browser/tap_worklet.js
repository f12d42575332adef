// Rounded and clamped with one scale for both signs: the only conversion that undoes the player's.
const toPcm16 = (sample) => Math.max(-32768, Math.min(32767, Math.round(sample * 32768)));

class Tap extends AudioWorkletProcessor {
  process([[channel]]) {
    if (channel) this.port.postMessage(Array.from(channel, toPcm16));
    return true;
  }
}

registerProcessor("tap", Tap);
