// Owns the microphone: asks for it, cuts its sound into frames, gives it back. Knows nothing of the call.
import { SAMPLE_RATE } from "./pcm.js";

const CLEANED = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 };

/** Which microphone is a wish: one that is gone gives way to the default. */
async function streamOf(device) {
  const open = (more) => navigator.mediaDevices.getUserMedia({ audio: { ...CLEANED, ...more } });
  if (!device) return open({});
  try {
    return await open({ deviceId: { exact: device } });
  } catch (error) {
    if (error.name !== "OverconstrainedError" && error.name !== "NotFoundError") throw error;
    return open({});
  }
}

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
  /** Resolves to an open microphone. Rejects as getUserMedia does. `player` is what may come back as an echo. */
  static async open({ device, player, worklet, guard, onFrame, onLost }) {
    player.context.audioWorklet.addModule(worklet).catch(() => {}); // on its way meanwhile; a failure is met in `listen`
    const stream = await streamOf(device);
    const microphone = new Microphone(stream);
    try {
      await microphone.listen({ player, worklet, guard, onFrame });
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

  async listen({ player, worklet, guard, onFrame }) {
    const [source, own] = await this.sourceIn(player.context);
    this.own = own;
    await source.context.audioWorklet.addModule(worklet);
    this.node = new AudioWorkletNode(source.context, "frontdesk-microphone", {
      numberOfInputs: 2, numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit", processorOptions: { guard },
    });
    this.node.port.onmessage = ({ data }) => onFrame(data);
    this.source = source;
    source.connect(this.node, 0, 0);
    await player.ready;
    if (own) this.tell({ type: "reference", port: player.reference() });
    else {
      this.echo = player.output;
      this.echo.connect(this.node, 0, 1);
    }
  }

  tell(message) {
    this.node.port.postMessage(message, message.port ? [message.port] : []);
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

  get device() {
    return this.track.getSettings().deviceId ?? "";
  }

  /** "guarded", "half_duplex" or "off". */
  set guard(mode) {
    this.tell({ type: "guard", mode });
  }

  set telephone(on) {
    this.tell({ type: "telephone", on });
  }

  /** The loudspeaker may be another one: what was learned of its echo is forgotten. */
  forget() {
    this.tell({ type: "restart" });
  }

  async close() {
    for (const track of this.stream.getTracks()) track.stop();
    if (this.node) {
      this.node.port.onmessage = null;
      this.tell({ type: "stop" });
    }
    this.source?.disconnect();
    if (this.echo) this.echo.disconnect(this.node);
    if (this.own && this.own.state !== "closed") await this.own.close();
  }
}
