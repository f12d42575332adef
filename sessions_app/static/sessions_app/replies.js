// Owns which replies of a call may still be heard. Pure: events in, answers out.

/** Which replies there are, which one is being made, and which were cut off and are to be heard no more. */
export class Replies {
  active = null;
  known = new Set();
  cut = new Set();
  silent = new Set(); // items of which nothing has arrived yet

  began(id) {
    this.active = id;
    this.known.add(id);
  }

  ended(id) {
    if (this.active === id) this.active = null;
  }

  added({ response_id: response, item }) {
    if (item.type === "message" && !this.cut.has(response)) this.silent.add(item.id);
  }

  reached(item, response) {
    this.silent.delete(item);
    if (response) this.known.add(response); // it may have begun before the line broke
  }

  dropped({ response_id: response }) {
    return this.cut.has(response);
  }

  drop() {
    for (const id of this.known) this.cut.add(id);
    const unheard = [...this.silent].map((id) => ({ item_id: id, played_ms: 0, received_ms: 0 }));
    this.silent.clear();
    return unheard;
  }
}
