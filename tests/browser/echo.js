// A room around the talk page: what the page plays comes back into its microphone, later and quieter, and somebody
// may speak there too. Evaluated before the call begins, with {gain, delayMs}.
({ gain, delayMs }) => {
  const connect = AudioNode.prototype.connect;
  const build = (context) => {
    const late = new DelayNode(context, { delayTime: delayMs / 1000 });
    const leak = new GainNode(context, { gain });
    const ear = new MediaStreamAudioDestinationNode(context);
    connect.call(late, leak);
    connect.call(leak, ear);
    return { context, late, ear };
  };
  AudioNode.prototype.connect = function (target, ...rest) {
    const result = connect.call(this, target, ...rest);
    if (target === this.context.destination) connect.call(this, (window.room ??= build(this.context)).late);
    return result;
  };
  MediaDevices.prototype.getUserMedia = async () => {
    while (!window.room) await new Promise((resolve) => setTimeout(resolve, 5));
    return window.room.ear.stream;
  };
  window.speak = async (base64) => {
    const { decode, toFloats } = await import("/static/sessions_app/pcm.js");
    const { context, ear } = window.room;
    const samples = toFloats(decode(base64));
    const buffer = new AudioBuffer({ length: samples.length, sampleRate: 24000 });
    buffer.copyToChannel(samples, 0);
    const source = new AudioBufferSourceNode(context, { buffer });
    connect.call(source, ear);
    source.start();
  };
}
