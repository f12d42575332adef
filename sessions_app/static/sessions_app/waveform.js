// Owns the drawing of a call's two lanes: the caller above the middle, the receptionist below it, striped, so that
// they differ without colour too. Knows no sound.

const BAR_PX = 3;
const GAP_PX = 1;
const PEAK_MAX = 100;

/** The loudest peak of each of `count` stretches, 0 to 1, for one lane. */
function bars(peaks, lane, count) {
  const heights = new Array(count).fill(0);
  peaks.forEach((pair, n) => {
    const at = Math.min(count - 1, Math.floor((n * count) / peaks.length));
    heights[at] = Math.max(heights[at], (pair[lane] ?? 0) / PEAK_MAX);
  });
  return heights;
}

export class Waveform {
  constructor(canvas, peaks) {
    this.canvas = canvas;
    this.peaks = peaks;
    this.share = 0;
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  /** `share` of the call has been played: 0 to 1. */
  show(share) {
    this.share = share;
    this.draw();
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !height) return;
    const scale = devicePixelRatio || 1;
    if (this.canvas.width !== Math.round(width * scale)) this.canvas.width = Math.round(width * scale);
    if (this.canvas.height !== Math.round(height * scale)) this.canvas.height = Math.round(height * scale);
    const pen = this.canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    const count = Math.max(1, Math.floor(width / (BAR_PX + GAP_PX)));
    const style = getComputedStyle(this.canvas);
    this.#lane(pen, bars(this.peaks, 0, count), { up: true, height, colour: style.getPropertyValue("--caller") });
    this.#lane(pen, bars(this.peaks, 1, count), { up: false, height, colour: style.getPropertyValue("--agent") });
  }

  #lane(pen, heights, { up, height, colour }) {
    const middle = height / 2;
    pen.fillStyle = colour;
    heights.forEach((loud, n) => {
      const tall = Math.max(1, loud * (middle - 3));
      pen.globalAlpha = (n + 0.5) / heights.length <= this.share ? 1 : 0.42;
      const x = n * (BAR_PX + GAP_PX);
      if (up) pen.fillRect(x, middle - 1 - tall, BAR_PX, tall);
      else for (let y = 0; y < tall; y += 3) pen.fillRect(x, middle + 1 + y, BAR_PX, Math.min(2, tall - y));
    });
    pen.globalAlpha = 1;
  }
}
