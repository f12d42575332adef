// Owns what this browser remembers of how its user likes the page. Never anything about a person or a call.

const KEY = "frontdesk.preferences";
const DEFAULTS = Object.freeze({
  volume: 100, pushToTalk: false, moreTime: false, echoGuard: null, microphone: "", captionSize: "medium",
});
const ALLOWED = {
  volume: (value) => Number.isInteger(value) && value >= 0 && value <= 100,
  pushToTalk: (value) => typeof value === "boolean",
  moreTime: (value) => typeof value === "boolean",
  echoGuard: (value) => ["guarded", "half_duplex"].includes(value), // null: as the clinic has it
  microphone: (value) => typeof value === "string" && value.length <= 256, // a name of this browser's own, for this site
  captionSize: (value) => ["medium", "large", "largest"].includes(value),
};

export function load(storage) {
  const kept = read(storage);
  const good = Object.entries(ALLOWED).filter(([name, allows]) => allows(kept?.[name]));
  return { ...DEFAULTS, ...Object.fromEntries(good.map(([name]) => [name, kept[name]])) };
}

export function save(storage, preferences) {
  try {
    storage.setItem(KEY, JSON.stringify(preferences));
  } catch {
    // Storage is full or forbidden: the page works without a memory.
  }
}

function read(storage) {
  try {
    return JSON.parse(storage.getItem(KEY) ?? "{}");
  } catch {
    return {};
  }
}
