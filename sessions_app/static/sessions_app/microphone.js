// Owns the microphone: asks for it, cuts its sound into frames, gives it back. Knows nothing of the call.
import { SAMPLE_RATE } from "./pcm.js";

const CONSTRAINTS = { audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 } };

/** Why there can be no microphone on this page at all, by name, or null. */
export function obstacle() {
  if (!window.isSecureContext) return "insecure";
  if (!navigator.mediaDevices?.getUserMedia || !window.AudioWorkletNode) return "unsupported";
  const policy = document.permissionsPolicy ?? document.featurePolicy;
  return policy && !policy.allowsFeature("microphone") ? "microphone_policy" : null;
}

/** The name of what an error of getUserMedia means to the caller. */
export function problemOf(error) {
  if (error.name === "NotAllowedError") return /system/i.test(error.message) ? "microphone_system" : "microphone_refused";
  if (["NotFoundError", "OverconstrainedError"].includes(error.name)) return "microphone_missing";
  if (["NotReadableError", "AbortError"].includes(error.name)) return "microphone_busy";
  return error.name === "SecurityError" ? "microphone_policy" : "unsupported";
}

export class Microphone {
  /** Resolves to an open microphone. Rejects as getUserMedia does. */
  static async open({ context, worklet, onFrame, onLost }) {
    const stream = await navigator.mediaDevices.getUserMedia(CONSTRAINTS);
    const microphone = new Microphone(stream);
    try {
      await microphone.listen(context, worklet, onFrame);
    } catch (error) {
      await microphone.close();
      throw error;
    }
    microphone.track.addEventListener("ended", onLost);
    return microphone;
  }

  constructor(stream) {
    this.stream = stream;
    this.track = stream.getAudioTracks()[0];
  }

  async listen(context, worklet, onFrame) {
    const [source, own] = await this.sourceIn(context);
    this.own = own;
    await source.context.audioWorklet.addModule(worklet);
    this.node = new AudioWorkletNode(source.context, "frontdesk-microphone", {
      numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit",
    });
    this.node.port.onmessage = ({ data }) => onFrame(data);
    this.source = source;
    source.connect(this.node);
  }

  /** Firefox refuses a microphone in a context of another rate than the device's: it gets one of its own there. */
  async sourceIn(context) {
    try {
      if (context.sampleRate === SAMPLE_RATE) return [context.createMediaStreamSource(this.stream), null];
    } catch (error) {
      if (error.name !== "NotSupportedError") throw error;
    }
    const own = new AudioContext();
    await own.resume();
    return [own.createMediaStreamSource(this.stream), own];
  }

  get label() {
    return this.track.label;
  }

  async close() {
    for (const track of this.stream.getTracks()) track.stop();
    if (this.node) this.node.port.onmessage = null;
    this.source?.disconnect();
    if (this.own && this.own.state !== "closed") await this.own.close();
  }
}
