// Owns what the page of a call is doing: (state, event) -> state.
// Knows no document, clock, socket or sound. An event is either the server's own, by its name on the wire,
// or a local one, whose name has no dot. What changes nothing returns the very same state.

export const IDLE = Object.freeze({
  phase: "idle", // idle, microphone, connecting, live, reconnecting, closing, ended, error
  mode: "voice", // voice, text
  muted: false,
  pushToTalk: false,
  holding: false,
  callerSpeaking: false,
  responseActive: false,
  playing: false,
  waiting: false, // an answer is due
  slow: false, // and is long in coming
  tools: [], // what runs, in words for the caller
  hint: null, // a passing remark, by name
  budget: null, // what the clinic's budget leaves: "text_only" or "message"
  tries: 0, // to get a line back that was lost
  recap: null, // {token, question, lines, answer}
  emergency: null, // {line, number}, the number "" where none is shown; only a new call takes it away
  call: null, // {reference, recording, demoVoice, maxCallS, elapsedS}
  problem: null, // why there is no call, by name
  ended: null, // why a call is over, by name
});

const IN_CALL = ["live", "reconnecting", "closing"];
const BEFORE_CALL = ["microphone", "connecting"];
const CLOSE_CODES = [1006, 1012, 1013, 4400, 4401, 4403, 4404, 4408, 4409, 4413, 4429, 4430, 4500];
const QUIET = { callerSpeaking: false, responseActive: false, playing: false, waiting: false, slow: false, tools: [], hint: null, recap: null, holding: false };

/** The one word for what the page is doing, of which everything shown and said follows. */
export function status(state) {
  if (state.phase === "microphone") return "connecting";
  if (!IN_CALL.includes(state.phase) || state.phase === "reconnecting") return state.phase;
  if (state.phase === "closing") return state.playing ? "speaking" : "closing";
  if (state.callerSpeaking || state.holding) return "listening";
  if (state.playing) return "speaking";
  if (state.tools.length > 0) return "working";
  if (state.mode === "text" && state.responseActive) return "speaking";
  if (state.waiting && state.slow) return "thinking";
  if (state.mode === "voice" && state.muted && !state.pushToTalk) return "muted";
  return "listening";
}

export const inCall = (state) => IN_CALL.includes(state.phase);
export const starting = (state) => BEFORE_CALL.includes(state.phase);

/** Whether the caller's sound may leave the browser, or wait for its line. */
export function microphoneOpen(state) {
  if (!["live", "reconnecting"].includes(state.phase) || state.mode !== "voice") return false;
  return state.pushToTalk ? state.holding : !state.muted;
}

function closeProblem(code) {
  return CLOSE_CODES.includes(code) ? `close_${code}` : "close_other";
}

export function reduce(state, event) {
  const handle = HANDLERS[event.type];
  const change = handle && Object.hasOwn(HANDLERS, event.type) ? handle(state, event) : null;
  if (!change || Object.keys(change).every((name) => change[name] === state[name])) return state;
  return Object.freeze({ ...state, ...change });
}

const live = (handle) => (state, event) => (inCall(state) ? handle(state, event) : null);
const stopped = (phase, more) => ({ phase, ...QUIET, ...more });
/** A tool that is done need not say which: then the first to begin counts as the first to end. */
const without = (list, entry) => list.toSpliced(Math.max(0, list.indexOf(entry)), 1);

const HANDLERS = {
  start: (state, { mode }) => {
    if (starting(state) || inCall(state)) return null;
    const { pushToTalk } = state;
    return { ...IDLE, pushToTalk, mode, phase: mode === "voice" ? "microphone" : "connecting" };
  },
  microphone_ready: (state) => (state.phase === "microphone" ? { phase: "connecting" } : null),
  reset: (state) => (["ended", "error"].includes(state.phase) ? { ...IDLE, pushToTalk: state.pushToTalk } : null),
  failed: (state, { problem }) =>
    starting(state) || ["live", "reconnecting"].includes(state.phase) ? stopped("error", { problem }) : null,
  hang_up: (state) => {
    if (starting(state)) return stopped("idle");
    return inCall(state) ? stopped("ended", { ended: state.ended ?? "caller" }) : null;
  },
  closed: (state, { code }) => {
    if (!["live", "reconnecting", "connecting"].includes(state.phase)) return null;
    if (code === 1000) return { phase: "closing", ended: "other", recap: null, tools: [] };
    return stopped("error", { problem: closeProblem(code) });
  },
  lost: (state) => (state.phase === "live" ? { ...stopped("reconnecting"), waiting: state.waiting, tries: 0 } : null),
  trying: (state, { tries }) => (state.phase === "reconnecting" ? { tries } : null),
  left: (state) => (starting(state) || inCall(state) ? stopped("idle") : null),
  settled: (state) => (state.phase === "closing" ? stopped("ended", { ended: state.ended }) : null),

  mode: live((state, { mode }) => ({ mode, holding: false, callerSpeaking: false, hint: null })),
  mute: live((state, { on }) => ({ muted: on, hint: null, callerSpeaking: false })),
  push_to_talk: (state, { on }) => ({ pushToTalk: on, holding: false, callerSpeaking: false }),
  hold: live((state, { on }) => {
    if (state.phase !== "live" || !state.pushToTalk || state.mode !== "voice" || state.holding === on) return null;
    return on ? { holding: true, hint: null, waiting: false, slow: false } : { holding: false };
  }),
  asked: live(() => ({ waiting: true, slow: false, hint: null })),
  playback_started: live(() => ({ playing: true, waiting: false, slow: false, hint: null })),
  playback_ended: live(() => ({ playing: false })),
  interrupted: live(() => ({ playing: false })),
  waited: (state) => (state.waiting ? { slow: true } : null),
  hint: (state, { hint }) => ({ hint }),
  heard_something: (state) => (state.hint === "quiet" ? { hint: null } : null),
  answer: live((state, { token, answer }) =>
    state.recap?.token === token && !state.recap.answer ? { recap: { ...state.recap, answer } } : null,
  ),

  "session.created": (state) => {
    if (state.phase === "reconnecting") return { phase: "live", hint: null };
    return state.phase === "connecting" ? { phase: "live", waiting: true, slow: false, hint: null } : null;
  },
  "input_audio_buffer.speech_started": live(() => ({
    callerSpeaking: true, playing: false, waiting: false, slow: false, hint: null,
  })),
  "input_audio_buffer.speech_stopped": live(() => ({ callerSpeaking: false, waiting: true, slow: false })),
  "response.created": live(() => ({ responseActive: true })),
  "response.output_text.delta": live(() => ({ waiting: false, slow: false })),
  // A greeting may be on its way as sound before the server hears that this caller reads.
  "response.output_audio_transcript.delta": live(({ mode }) => (mode === "text" ? { waiting: false, slow: false } : null)),
  "response.done": live((state, { response }) => {
    // A reply without words called a tool, and one that was cut off gave way to the caller: both have a sequel.
    const words = response.status === "completed" && response.output.some((item) => item.type === "message");
    const lost = response.status === "failed" || response.status === "incomplete";
    return words || lost ? { responseActive: false, waiting: false, slow: false } : { responseActive: false };
  }),

  "frontdesk.call": live((state, event) => ({
    call: {
      reference: event.reference, recording: event.recording, demoVoice: event.demo_voice, maxCallS: event.max_call_s,
      elapsedS: event.elapsed_s ?? 0,
    },
  })),
  "frontdesk.tool": live((state, event) => ({
    tools: event.status === "working" ? [...state.tools, event.label] : without(state.tools, event.label),
  })),
  "frontdesk.budget": live((state, { level }) => ({ budget: level, hint: `budget_${level}` })),
  "frontdesk.confirm": live((state, { token, question, lines }) => ({
    recap: { token, question, lines, answer: null },
    tools: [], // what asks for a yes is not at work
  })),
  "frontdesk.confirm_closed": live((state, { token }) => (state.recap?.token === token ? { recap: null } : null)),
  "frontdesk.emergency": live((state, { line, number }) => ({ emergency: { line, number }, recap: null, tools: [] })),
  "frontdesk.ended": live((state, { reason, reference }) => ({
    phase: "closing",
    ended: reason,
    call: state.call ?? { reference, recording: false, demoVoice: false, maxCallS: null, elapsedS: 0 },
    recap: null, tools: [], holding: false, callerSpeaking: false, waiting: false, hint: null,
  })),
};
