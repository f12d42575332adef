// Owns what this tab remembers of the call that it is in: the token with which the call goes on after a reload.
// In sessionStorage: of this tab alone, so that no other tab takes the call by accident, and gone with it.

const KEY = "frontdesk.call";
const OFFERED_MS = 60_000; // as long as a call waits for its caller

export class Passes {
  constructor({ storage, publicName, now = Date.now }) {
    Object.assign(this, { storage, publicName, now });
    this.mode = "voice";
  }

  keep(token) {
    this.token = token;
    this.touch();
  }

  /** The call is alive: from now on its way back is worth something for a minute. */
  touch() {
    if (!this.token) return;
    const entry = { token: this.token, publicName: this.publicName, mode: this.mode, aliveAt: this.now() };
    try {
      this.storage?.setItem(KEY, JSON.stringify(entry));
    } catch {
      // Storage is full or forbidden: a reload then ends the call.
    }
  }

  forget() {
    this.token = null;
    try {
      this.storage?.removeItem(KEY);
    } catch {
      // Then it runs out by itself.
    }
  }

  /** {token, mode, leftMs} of a call that may still be waiting for this tab, or null. */
  offer() {
    const entry = this.read();
    const leftMs = OFFERED_MS - (this.now() - entry?.aliveAt);
    if (entry?.publicName !== this.publicName || typeof entry.token !== "string" || !(leftMs > 0)) return null;
    return { token: entry.token, mode: entry.mode === "text" ? "text" : "voice", leftMs: Math.min(leftMs, OFFERED_MS) };
  }

  read() {
    try {
      return JSON.parse(this.storage?.getItem(KEY) ?? "null");
    } catch {
      return null;
    }
  }
}

/** This tab's memory; some browsers refuse it altogether. */
export function tabStorage() {
  try {
    return window.sessionStorage;
  } catch {
    return null;
  }
}
