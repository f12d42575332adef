// Notes what a patient hears and when: evaluated before the talk page's own scripts, which know nothing of it.
// `bench.marks`: [name, time of day in ms], in no order. `bench.answered` resolves when what was said is being answered.
(() => {
  const THRESHOLD = 0.02;
  const PAUSES_MS = { sound: 60, voice: 150 }; // a voice has gaps between its syllables
  const STOPPED = "input_audio_buffer.speech_stopped";
  const TOLD = ["session.created", "input_audio_buffer.speech_started", STOPPED, "response.output_audio.delta"];
  const marks = [];
  let resolve;
  const answered = new Promise((done) => (resolve = done));
  const note = (name, at = performance.timeOrigin + performance.now()) => {
    marks.push([name, at]);
    if (name === "sound begins" && marks.some(([one]) => one === STOPPED)) resolve();
  };
  window.bench = { marks, answered };

  document.addEventListener("click", ({ timeStamp }) => note("tap", performance.timeOrigin + timeStamp), true);

  const { getUserMedia } = MediaDevices.prototype;
  MediaDevices.prototype.getUserMedia = async function (constraints) {
    const stream = await getUserMedia.call(this, constraints);
    note("microphone");
    return stream;
  };

  const { fetch } = window;
  window.fetch = async (...request) => {
    note("key asked");
    const answer = await fetch(...request);
    note("key");
    return answer;
  };

  window.WebSocket = class extends WebSocket {
    constructor(...address) {
      super(...address);
      this.addEventListener("open", () => note("open"));
      this.addEventListener("message", ({ data }) => {
        const head = data.slice(0, 80);
        const told = TOLD.find((type) => head.includes(type));
        if (told) note(told);
      });
    }
  };

  // The module must be there before a node is made of it, and pages load their own just before they make theirs.
  const { addModule } = AudioWorklet.prototype;
  AudioWorklet.prototype.addModule = function (address) {
    return Promise.all([addModule.call(this, "/static/bench/ears_worklet.js"), addModule.call(this, address)]);
  };

  const { connect } = AudioNode.prototype;
  const listen = (node, what) => {
    const processorOptions = { threshold: THRESHOLD, pauseMs: PAUSES_MS[what], given: what === "voice" };
    const ears = new AudioWorkletNode(node.context, "bench-ears", { numberOfOutputs: 0, channelCount: 1, processorOptions });
    ears.port.onmessage = ({ data: { edge, at } }) => note(`${what} ${edge}`, at);
    connect.call(node, ears);
  };
  AudioNode.prototype.connect = function (target, ...rest) {
    if (target === this.context.destination) listen(this, "sound");
    if (this instanceof MediaStreamAudioSourceNode) listen(this, "voice");
    return connect.call(this, target, ...rest);
  };
})();
