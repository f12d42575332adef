// Owns the wording of what the page asks of the server. Pure: values in, a client event out.

const PATIENT = { type: "server_vad", silence_duration_ms: 1200 }; // asks for the receptionist's preset "more time"

export const listening = ({ pushToTalk, moreTime }) => ({
  type: "session.update",
  session: {
    type: "realtime",
    audio: { input: { turn_detection: pushToTalk ? null : moreTime ? PATIENT : { type: "server_vad" } } },
  },
});

export const answering = (mode) => ({
  type: "session.update",
  session: { type: "realtime", output_modalities: [mode === "text" ? "text" : "audio"] },
});

const hex = (byte) => byte.toString(16).padStart(2, "0");

/** At most 32 characters, as the Realtime API allows an item's id. */
export const newItemId = () => `msg_${Array.from(crypto.getRandomValues(new Uint8Array(12)), hex).join("")}`;

export const message = (id, text) => ({
  type: "conversation.item.create",
  event_id: `say_${id}`,
  item: { id, type: "message", role: "user", content: [{ type: "input_text", text }] },
});

/** The item that an error speaks of, when its event was a message of ours. */
export const refusedItem = (error) => (error?.event_id?.startsWith("say_") ? error.event_id.slice(4) : null);

export const RESPOND = { type: "response.create" };
export const COMMIT = { type: "input_audio_buffer.commit" };
export const CLEAR = { type: "input_audio_buffer.clear" };
export const cancel = (responseId) => ({ type: "response.cancel", response_id: responseId });
export const truncate = (itemId, playedMs) => ({
  type: "conversation.item.truncate", item_id: itemId, content_index: 0, audio_end_ms: playedMs,
});
export const playback = (itemId, playedMs) => ({ type: "frontdesk.playback", item_id: itemId, played_ms: playedMs });
/** Totals of this page: sound that it could not send, kept back as an echo, or had to wait for. */
export const soundReport = (totals) => ({ type: "frontdesk.sound", ...totals });
/** The token that was told last is here: the one before it may be forgotten. */
export const HAS_TOKEN = { type: "frontdesk.resume" };
export const confirm = (token, answer) => ({ type: "frontdesk.confirm", token, answer });
