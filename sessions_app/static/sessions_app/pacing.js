// Owns what the page says because time has passed. The only reader of the clock beside the audio thread.
import { starting } from "./call_state.js";

const SLOW_ANSWER_MS = 700;
const STILL_CONNECTING_MS = 4_000;
const SLOW_CONNECTING_MS = 10_000;

/** An answer is due, and is not late yet. A second question begins the wait anew. */
const hopeful = ({ waiting, slow }) => waiting && !slow;

export function watchTime(store) {
  const timers = new Map();
  const after = (name, milliseconds, event) => {
    timers.set(name, setTimeout(() => store.dispatch(event), milliseconds));
  };
  const stop = (...names) => {
    for (const name of names) clearTimeout(timers.get(name));
  };
  store.watch(({ state }, { state: before }) => {
    if (hopeful(state) !== hopeful(before)) stop("answer");
    if (hopeful(state) && !hopeful(before)) after("answer", SLOW_ANSWER_MS, { type: "waited" });
    if (state.phase === "connecting" && before.phase !== "connecting") {
      after("still", STILL_CONNECTING_MS, { type: "hint", hint: "still_connecting" });
      after("slow", SLOW_CONNECTING_MS, { type: "hint", hint: "slow_connecting" });
    }
    if (!starting(state)) stop("still", "slow");
  });
}
