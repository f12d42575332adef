// Owns how a moment of a call is written and said. Knows no document.

import { fill } from "./dom.js";

/** 83000 -> "1:23" */
export function clock(ms) {
  const whole = Math.max(0, Math.floor(ms / 1000));
  const [hours, minutes, seconds] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (n) => String(n).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(seconds)}` : `${minutes}:${two(seconds)}`;
}

/** 83000 -> "1 minutes 23 seconds", in the page's language */
export function spoken(ms, texts) {
  const whole = Math.max(0, Math.floor(ms / 1000));
  return fill(texts.length, { minutes: Math.floor(whole / 60), seconds: whole % 60 });
}

/** "83" or "83.5", as in `?t=`, -> milliseconds within the call; null for anything else */
export function fromAddress(search, durationMs) {
  const seconds = Number.parseFloat(new URLSearchParams(search).get("t") ?? "");
  return Number.isFinite(seconds) && seconds >= 0 ? Math.min(seconds * 1000, durationMs) : null;
}
