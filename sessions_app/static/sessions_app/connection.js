// Tries this device's microphone for staff: opens it, listens a few seconds, says what it found. Sends nothing.

const LISTEN_MS = 3000;
const HEARD = 0.01; // of full scale; a quiet room stays below

const button = document.getElementById("microphone-try");
const line = document.getElementById("microphone-said");

/** Resolves to "heard" or "silent"; rejects as getUserMedia does. */
async function listen() {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const context = new AudioContext();
  try {
    const meter = context.createAnalyser();
    context.createMediaStreamSource(stream).connect(meter);
    const samples = new Float32Array(meter.fftSize);
    for (const end = performance.now() + LISTEN_MS; performance.now() < end; ) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      meter.getFloatTimeDomainData(samples);
      if (samples.some((sample) => Math.abs(sample) > HEARD)) return "heard";
    }
    return "silent";
  } finally {
    for (const track of stream.getTracks()) track.stop();
    await context.close();
  }
}

button.addEventListener("click", async () => {
  button.disabled = true;
  line.textContent = "…";
  const found = navigator.mediaDevices
    ? await listen().catch((error) => (error.name === "NotAllowedError" ? "refused" : "missing"))
    : "insecure";
  line.textContent = line.dataset[found];
  button.disabled = false;
});
