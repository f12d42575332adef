// Owns the list of microphones: which there are, and which was chosen. Knows nothing of the call.
import { element } from "./dom.js";

export class MicrophoneMenu {
  /** `onChange(device)` when one is chosen, `onDevices()` when something was plugged in or out. */
  constructor({ select, row, texts, onChange, onDevices }) {
    Object.assign(this, { select, row, texts });
    select.addEventListener("change", () => onChange(select.value));
    navigator.mediaDevices?.addEventListener?.("devicechange", () => {
      onDevices();
      this.refresh();
    });
  }

  /** Browsers name the devices only while one is in use; `inUse` is that one's. */
  async refresh(inUse = this.select.value) {
    const devices = (await navigator.mediaDevices?.enumerateDevices?.().catch(() => [])) ?? [];
    const microphones = devices.filter(({ kind, deviceId }) => kind === "audioinput" && deviceId);
    this.row.hidden = microphones.length === 0;
    const name = ({ label }, i) => label || this.texts.microphone.replace("{number}", i + 1);
    this.select.replaceChildren(
      ...microphones.map((device, i) => element("option", { value: device.deviceId }, name(device, i))),
    );
    if (microphones.some(({ deviceId }) => deviceId === inUse)) this.select.value = inUse;
  }
}
