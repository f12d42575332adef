// Owns the key and the socket of one call. Knows the wire's handshake, and nothing of what is said on it.

const KEY_PROTOCOL = "openai-insecure-api-key.";
const RESUME_PROTOCOL = "frontdesk-resume.";
const KEY_TIMEOUT_MS = 15_000;
const OPEN_TIMEOUT_MS = 15_000;
const FULL_BYTES = 256 * 1024; // sound behind this much unsent data is stale before it arrives
const STUCK_MS = 3_000; // a slow line takes some sound in this time
const HANG_UP = 1000;
const LOST = 1006;

/** There is no call: `problem` names why. */
export class NoCall extends Error {
  constructor(problem) {
    super(problem);
    this.problem = problem;
  }
}

function keyProblem(status, code) {
  if (status === 403) return "key_origin";
  if (status === 404) return "key_unknown";
  if (status === 429) return { busy: "key_busy", budget: "close_4430" }[code] ?? "key_rate";
  return status === 502 || status === 503 ? "key_upstream" : "key_other";
}

async function requestKey({ keyPath, publicName, noticeSha256, recording }) {
  const answer = await fetch(keyPath, {
    method: "POST",
    credentials: "omit",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({
      session: { type: "realtime", model: publicName },
      frontdesk: { notice_sha256: noticeSha256, recording },
    }),
    signal: AbortSignal.timeout(KEY_TIMEOUT_MS),
  }).catch(() => {
    throw new NoCall("key_network");
  });
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new NoCall(keyProblem(answer.status, body.error?.code));
  if (typeof body.value !== "string") throw new NoCall("key_other");
  return body.value;
}

/** Resolves to an open WebSocket; rejects when it fails before it opens, of which a browser tells no reason. */
function openSocket({ socketPath, publicName }, pass, timeoutMs = OPEN_TIMEOUT_MS) {
  const address = new URL(socketPath, location.href);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  address.search = new URLSearchParams({ model: publicName });
  const socket = new WebSocket(address, ["realtime", "frontdesk", pass]);
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => socket.close(), timeoutMs);
    const failed = () => {
      clearTimeout(timer);
      reject(new NoCall("socket_failed"));
    };
    socket.addEventListener("close", failed, { once: true });
    socket.addEventListener("open", () => {
      clearTimeout(timer);
      socket.removeEventListener("close", failed);
      resolve(socket);
    }, { once: true });
  });
}

/** Daphne cannot spell the codes 1011 to 1013, so that our server adds 3000 to them there. */
const plain = (code) => (code >= 4011 && code <= 4013 ? code - 3000 : code);

export class RealtimeSocket {
  /**
   * Ask for a key and spend it. A key may have run out or been spent on the way, so a socket that fails before it
   * opens gets one more, once. `wanted()` says whether the caller still waits; the result is null when not.
   */
  static async open(settings, handlers, wanted) {
    for (let attempt = 1; ; attempt += 1) {
      const key = await requestKey(settings);
      if (!wanted()) return null;
      try {
        return new RealtimeSocket(await openSocket(settings, KEY_PROTOCOL + key), handlers);
      } catch (error) {
        if (attempt === 2 || !wanted()) throw error;
      }
    }
  }

  /** Come back to a call with its token. Rejects with NoCall, of which a browser tells no reason. */
  static async resume(settings, token, handlers, timeoutMs) {
    return new RealtimeSocket(await openSocket(settings, RESUME_PROTOCOL + token, timeoutMs), handlers);
  }

  constructor(socket, { onEvent, onClose }) {
    Object.assign(this, { socket, onClose, listening: new AbortController() });
    const { signal } = this.listening;
    socket.addEventListener("message", ({ data }) => onEvent(JSON.parse(data)), { signal });
    socket.addEventListener("close", ({ code }) => onClose(plain(code)), { signal });
  }

  send(event) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(event));
  }

  /** Whether it was sent. */
  sendAudio(base64) {
    if (this.full) {
      this.stuck ??= setTimeout(() => this.breakOff(), STUCK_MS);
      return false;
    }
    clearTimeout(this.stuck);
    this.stuck = null;
    this.send({ type: "input_audio_buffer.append", audio: base64 });
    return true;
  }

  get full() {
    return this.socket.bufferedAmount >= FULL_BYTES;
  }

  /** Nothing has left for a while, so that the line is dead: a browser may take minutes to say so. */
  breakOff() {
    if (!this.full || this.socket.readyState !== WebSocket.OPEN) return;
    this.listening.abort();
    this.socket.close();
    this.onClose(LOST);
  }

  hangUp() {
    this.socket.close(HANG_UP);
  }
}
