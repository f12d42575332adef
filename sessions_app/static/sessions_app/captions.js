// Owns the words of a call as the caller sees them: (lines, event) -> lines, in the order of the conversation.
// Knows no document. Keyed by item id throughout: parts of several items interleave on the wire.
// A line: {id, side, text, state, heard, sent}; state: pending, streaming, final, failed; heard: null, or how many
// letters of an interrupted reply were heard. A card: {id, side: "card", rows}.

const LETTERS_PER_MS = 0.018; // of quick speech: words run ahead of sound on the wire, so a share alone says too much

export const NO_LINES = Object.freeze([]);

export function reduce(lines, event) {
  const handle = Object.hasOwn(HANDLERS, event.type) ? HANDLERS[event.type] : null;
  return handle ? handle(lines, event) : lines;
}

/** The text of a line in two parts: what was heard, and what was not. Cut between words. */
export function heardSplit(line) {
  if (line.heard === null || line.heard >= line.text.length) return [line.text, ""];
  const at = Math.max(line.text.lastIndexOf(" ", line.heard), 0);
  return [line.text.slice(0, at), line.text.slice(at)];
}

const newLine = (id, side, more) => ({ id, side, text: "", state: "pending", heard: null, ...more });
const find = (lines, id) => lines.findIndex((line) => line.id === id);
const change = (lines, id, changes) => {
  const at = find(lines, id);
  return at < 0 ? lines : lines.with(at, { ...lines[at], ...changes });
};
const upsert = (lines, id, side, changes) =>
  find(lines, id) < 0 ? [...lines, newLine(id, side, changes)] : change(lines, id, changes);

const textOf = (item) =>
  (item.content ?? []).map((part) => part.text ?? part.transcript ?? "").join(" ").trim();

/** Put an item where the conversation has it; a line that was there before its item keeps its words. */
function added(lines, { item, previous_item_id: previous }) {
  if (item.type !== "message" || item.role === "system") return lines;
  const side = item.role === "assistant" ? "agent" : "caller";
  const text = textOf(item);
  const typed = (item.content ?? []).some((part) => part.type === "input_text");
  const known = lines[find(lines, item.id)];
  const line = { ...newLine(item.id, side), ...known };
  // A page that lost its line has missed words; one that was loaded anew has none yet.
  if (text.length > line.text.length && line.state !== "final") line.text = text;
  if (typed) line.state = "final";
  if (known?.sent) return change(lines, item.id, line); // it stays where its writer saw it
  const rest = lines.filter((one) => one.id !== item.id);
  const after = previous ? find(rest, previous) : -1;
  if (after < 0) return known ? change(lines, item.id, line) : [...lines, line];
  // Cards stay with the words they came with, and an answer may overtake the echo of the message that it answers:
  // an item goes behind both.
  let at = after + 1;
  while (rest[at]?.side === "card" || (rest[at]?.sent && rest[at].state === "pending")) at += 1;
  return rest.toSpliced(at, 0, line);
}

function finished(lines, { item }) {
  const line = lines[find(lines, item.id)];
  if (!line || line.side !== "agent") return lines;
  const told = textOf(item);
  // Of a reply that was cut off, a server to which the page came back tells only what was heard.
  const text = told && !(line.heard !== null && told.length < line.text.length) ? told : line.text;
  // A reply that was called off before its first word leaves nothing to show.
  return text ? change(lines, item.id, { text, state: "final" }) : lines.filter((one) => one.id !== item.id);
}

/** Words that arrive late for a reply that was cut off join it, as unheard as the rest. */
function grow(lines, { item_id: id, delta }) {
  const { text = "", heard = null } = lines[find(lines, id)] ?? {};
  return upsert(lines, id, "agent", { text: text + delta, state: heard === null ? "streaming" : "final" });
}

/** Mark replies as cut off: each item with what was played of what had been received. */
function interrupted(lines, { items }) {
  return items.reduce((some, { item_id: id, played_ms: played, received_ms: received }) => {
    const length = some[find(some, id)]?.text.length ?? 0;
    const share = received ? played / received : 0;
    const heard = Math.round(Math.min(length * share, played * LETTERS_PER_MS));
    return change(some, id, { heard, state: "final" });
  }, lines);
}

const HANDLERS = {
  "input_audio_buffer.speech_started": (lines, { item_id: id }) => (id ? upsert(lines, id, "caller", {}) : lines),
  "input_audio_buffer.committed": (lines, { item_id: id }) => upsert(lines, id, "caller", {}),
  "input_audio_buffer.cleared": (lines) =>
    lines.filter((line) => !(line.side === "caller" && line.state === "pending" && !line.text && !line.sent)),
  "conversation.item.added": added,
  "conversation.item.done": finished,
  "conversation.item.input_audio_transcription.delta": (lines, { item_id: id, delta }) =>
    upsert(lines, id, "caller", { text: (lines[find(lines, id)]?.text ?? "") + delta, state: "streaming" }),
  "conversation.item.input_audio_transcription.completed": (lines, { item_id: id, transcript }) => {
    const text = transcript.trim();
    return text ? upsert(lines, id, "caller", { text, state: "final" }) : lines.filter((line) => line.id !== id);
  },
  "conversation.item.input_audio_transcription.failed": (lines, { item_id: id }) =>
    upsert(lines, id, "caller", { text: "", state: "failed" }),
  "response.output_audio_transcript.delta": grow,
  "response.output_text.delta": grow,
  "response.output_audio_transcript.done": (lines, event) =>
    upsert(lines, event.item_id, "agent", { text: event.transcript, state: "final" }),
  "response.output_text.done": (lines, event) =>
    upsert(lines, event.item_id, "agent", { text: event.text, state: "final" }),
  "frontdesk.card": (lines, { id = `card_${lines.length}`, lines: rows }) =>
    find(lines, id) < 0 ? [...lines, { id, side: "card", rows, text: "", state: "final", heard: null }] : lines,
  interrupted,
  typed: (lines, { id, text }) => [...lines, newLine(id, "caller", { text, sent: true })],
  not_sent: (lines, { id }) => (lines[find(lines, id)]?.state === "pending" ? change(lines, id, { state: "failed" }) : lines),
  start: () => NO_LINES,
};
