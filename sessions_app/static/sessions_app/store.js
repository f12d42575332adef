// Owns the one copy of what the page knows: the call's state and its captions. Knows neither page nor socket.
import { IDLE, reduce as reduceState } from "./call_state.js";
import { NO_LINES, reduce as reduceLines } from "./captions.js";

export class Store {
  constructor({ pushToTalk }) {
    this.state = Object.freeze({ ...IDLE, pushToTalk });
    this.lines = NO_LINES;
    this.watchers = [];
  }

  /** `watcher({state, lines}, before)` is called after each change, with what was before it. */
  watch(watcher) {
    this.watchers.push(watcher);
  }

  dispatch(event) {
    const before = { state: this.state, lines: this.lines };
    this.state = reduceState(this.state, event);
    this.lines = reduceLines(this.lines, event);
    if (this.state === before.state && this.lines === before.lines) return;
    const now = { state: this.state, lines: this.lines };
    for (const watcher of this.watchers) watcher(now, before);
  }
}
