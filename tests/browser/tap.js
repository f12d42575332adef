// Listens beside the speaker: every sample that the page plays is kept in `window.heard`, as PCM16.
// Loaded before the page, which knows nothing of it.
window.heard = [];
window.tracks = [];
const addModule = AudioWorklet.prototype.addModule;
AudioWorklet.prototype.addModule = async function (address) {
  await addModule.call(this, "/tap_worklet.js");
  return addModule.call(this, address);
};
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (target, ...rest) {
  if (target === this.context.destination) {
    const tap = new AudioWorkletNode(this.context, "tap", { numberOfOutputs: 0 });
    tap.port.onmessage = ({ data }) => window.heard.push(...data);
    connect.call(this, tap);
  }
  return connect.call(this, target, ...rest);
};
const getUserMedia = MediaDevices.prototype.getUserMedia;
MediaDevices.prototype.getUserMedia = async function (constraints) {
  const stream = await getUserMedia.call(this, constraints);
  window.tracks.push(...stream.getTracks());
  return stream;
};
