// Owns the drawing of a call's state on the page. Decides nothing; `render` may be called at any time.
import { inCall, starting, status } from "./call_state.js";
import { CallbackForm } from "./callback.js";
import { factRows } from "./caption_view.js";
import { byId, dial, element, fill } from "./dom.js";
import { endedText, hintText, statusText } from "./wording.js";

export class View {
  constructor(texts) {
    this.texts = texts;
    this.title = document.title;
    this.callback = new CallbackForm(texts.callback);
  }

  render(state, before) {
    const calling = inCall(state) || starting(state);
    document.body.dataset.status = status(state);
    document.body.dataset.mode = state.mode;
    byId("front").hidden = calling;
    byId("call").hidden = !calling;
    byId("welcome").hidden = state.phase !== "idle";
    byId("problem").hidden = state.phase !== "error";
    byId("ended").hidden = state.phase !== "ended";
    if (calling) this.renderStage(state);
    if (state.phase === "error" && before.phase !== "error") this.renderProblem(state);
    if (state.phase === "ended") this.renderEnded(state);
    if (state.recap !== before.recap) this.renderRecap(state);
    this.renderEmergency(state);
    this.renderReference(state);
    this.renderTitle(state);
    if (state.phase !== before.phase) this.moveFocus(state, before);
  }

  renderStage(state) {
    if (byId("captions").parentElement.id !== "scroll") byId("scroll").append(byId("captions"));
    const live = state.phase === "live";
    const voice = state.mode === "voice";
    setText(byId("status"), statusText(state, this.texts));
    setText(byId("hint"), hintText(state, this.texts));
    const mute = byId("mute");
    hide(mute, !voice || state.pushToTalk, state);
    mute.setAttribute("aria-pressed", String(state.muted));
    const hold = byId("hold");
    hide(hold, !voice || !state.pushToTalk, state);
    hold.classList.toggle("held", state.holding);
    setText(hold.lastElementChild, this.texts.button[state.holding ? "holding" : "hold"]);
    setText(byId("switch-mode").lastElementChild, this.texts.button[voice ? "to_text" : "to_voice"]);
    byId("meter").hidden = !voice;
    const there = mayType(state); // who has lost the line may mute too
    // They come back when the line does, so that the focus stays on them.
    for (const id of ["hold", "switch-mode"]) byId(id).setAttribute("aria-disabled", String(!live));
    for (const id of ["mute", "message", "send"]) disable(byId(id), !there, state);
    byId("demo-voice").hidden = !state.call?.demoVoice;
    byId("kept").hidden = !voice || !state.call?.recording;
  }

  renderProblem({ problem }) {
    const { title, text, ways } = this.texts.problem[problem];
    setText(byId("problem-title"), title);
    setText(byId("problem-text"), text);
    byId("problem-retry").hidden = !ways.includes("retry");
    byId("problem-type").hidden = !ways.includes("type");
    this.callback.offer(ways.includes("leave"));
    const steps = this.texts.steps[this.stepsFor(problem)] ?? [];
    byId("problem-steps").hidden = steps.length === 0;
    byId("problem-steps").replaceChildren(...steps.map((step) => element("li", {}, step)));
  }

  stepsFor(problem) {
    if (problem === "microphone_system") return "system";
    return problem === "microphone_refused" ? this.browser : null;
  }

  renderEnded(state) {
    const { title, text } = endedText(state, this.texts);
    setText(byId("ended-title"), title);
    setText(byId("ended-text"), text);
    const words = byId("captions");
    byId("kept-words").hidden = words.children.length === 0;
    if (words.parentElement.id === "scroll") byId("kept-words").append(words);
  }

  renderRecap(state) {
    const { recap } = state;
    hide(byId("recap"), !recap, state);
    if (!recap) return;
    setText(byId("recap-question"), recap.question);
    byId("recap-lines").replaceChildren(...factRows(recap.lines));
    for (const id of ["recap-yes", "recap-change"]) disable(byId(id), recap.answer !== null, state);
  }

  renderEmergency({ emergency }) {
    const panel = byId("emergency");
    if (panel.hidden !== !emergency) panel.hidden = !emergency;
    if (!emergency) return;
    setText(byId("emergency-line"), emergency.line);
    const link = byId("emergency-number");
    link.hidden = !emergency.number; // a rule may have none to show
    setText(link, fill(this.texts.misc.call_number, { number: emergency.number }));
    link.href = dial(emergency.number);
  }

  renderReference({ call }) {
    for (const place of document.querySelectorAll(".reference")) {
      place.hidden = !call?.reference;
      setText(place.querySelector(".reference-text"), call?.reference ?? "");
    }
  }

  renderTitle(state) {
    const tell = document.hidden && (inCall(state) || starting(state));
    document.title = tell ? `${statusText(state, this.texts)} · ${this.title}` : this.title;
  }

  moveFocus(state, before) {
    if (starting(before) && starting(state)) return;
    if (before.phase === "reconnecting" && state.phase === "live") return; // whoever was typing types on
    if (state.phase === "live") byId(state.mode === "text" ? "message" : "status").focus();
    else if (starting(state)) byId("status").focus();
    else if (state.phase === "error") byId("problem-title").focus();
    else if (state.phase === "ended") byId("ended-title").focus();
    else if (state.phase === "idle") byId("welcome-title").focus();
  }
}

/** What is typed while the line is lost is sent later. */
const mayType = ({ phase }) => phase === "live" || phase === "reconnecting";

function hide(part, hidden, state) {
  if (hidden) vacate(part, state);
  part.hidden = hidden;
}

function disable(part, disabled, state) {
  if (disabled) vacate(part, state);
  part.disabled = disabled;
}

/** A focus in what is hidden or disabled would be lost: it goes to where the call goes on. */
function vacate(part, state) {
  if (!part.contains(document.activeElement)) return;
  byId(state.mode === "text" && mayType(state) ? "message" : "status").focus();
}

/** Only what differs: a rewritten text is announced and selected anew. */
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
