// Owns which sentence goes with which state. Pure.
import { inCall, status } from "./call_state.js";
import { fill } from "./dom.js";

export function statusText(state, texts) {
  const now = status(state);
  if (state.phase === "microphone") return texts.status.microphone;
  if (now === "reconnecting" && state.tries > 1) return fill(texts.misc.trying, { tries: state.tries });
  if (now === "working") return `${state.tools.at(-1)}…`;
  if (now === "speaking" && state.mode === "text") return texts.status.speaking_text;
  if (now === "listening" && state.mode === "text") return texts.status.listening_text;
  if (now === "listening" && state.pushToTalk && !state.holding) return texts.status.listening_push;
  return texts.status[now];
}

export function hintText(state, texts) {
  if (state.phase === "closing") return status(state) === "closing" ? "" : texts.status.closing;
  if (state.phase === "reconnecting") return texts.hint.reconnecting;
  if (state.hint) return texts.hint[state.hint] ?? texts.problem[state.hint]?.title ?? "";
  if (inCall(state) && state.budget) return texts.hint[`budget_${state.budget}`] ?? "";
  if (!inCall(state) || state.mode === "text") return "";
  const now = status(state);
  if (state.muted && !state.pushToTalk) return now === "muted" ? "" : texts.status.muted;
  return now === "speaking" ? texts.hint.interrupt : "";
}

export function endedText(state, texts) {
  const unnumbered = state.ended === "emergency" && !state.emergency?.number;
  return texts.ended[unnumbered ? "emergency_unnumbered" : state.ended] ?? texts.ended.other;
}
