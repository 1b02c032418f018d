// Live mode: every picture of the camera is named on this device, until it is stopped.

import { byId } from "./base.js";
import { clearAnswer, nameOf, PROBABLY_NONE, say, showAnswer } from "./answer.js";
import { Camera, engineName, withEngine } from "./device.js";

const LIVE_WINDOW = 20; // pictures whose times give the rate
const SMOOTH_MS = 350; // how long an answer is remembered
const SETTLED_MS = 500; // a new name has to lead this long before it is the headline
const BARS_MS = 120; // between two drawings of the bars

const camera = new Camera("video");

export const isLive = () => camera.state === "on";
export const isStarting = () => byId("live").dataset.state === "starting";
const mark = (state, text) => {
  byId("live").dataset.state = state;
  byId("live").textContent = text;
};

/** Starts the camera.
 * @param {(what: string) => void} show shows "video" on the stage.
 * @param {() => string} format that this device runs.
 */
export async function startCamera(show, format) {
  mark("starting", "Stop camera");
  say("Asking for the camera ...");
  let current = null;
  try {
    current = await camera.start();
    if (!current) return;
    show();
    mark("on", "Stop camera");
    say("Loading the network onto this device ...");
    byId("said").setAttribute("aria-live", "off"); // many answers a second are not to be read out
    while (current()) {
      const loaded = format();
      await withEngine(loaded, async (engine) => {
        if (!current()) return;
        say("");
        clearAnswer();
        byId("here-note").textContent = `${engineName()}. The camera's pictures stay on your device.`;
        const steady = new Steady(engine);
        while (current() && format() === loaded) await nameFrame(engine, steady, current);
      });
    }
  } catch (error) {
    if (current && !current()) return; // stopped meanwhile
    stopCamera();
    throw error;
  }
}

async function nameFrame(engine, steady, current) {
  const begin = performance.now();
  const values = await engine.frame(camera.video);
  await new Promise(requestAnimationFrame);
  if (current()) steady.show(values, performance.now() - begin);
}

/** One headline at a time: answers are averaged over a third of a second, and a new one has to last. */
class Steady {
  #values = null;
  #shown = null; // the headline
  #next = null; // what leads instead, and since when
  #since = 0;
  #drawn = 0;
  #times = [];

  constructor(engine) {
    this.engine = engine;
  }

  show(values, milliseconds) {
    const kept = Math.exp(-milliseconds / SMOOTH_MS);
    this.#values = this.#values ? values.map((value, index) => kept * this.#values[index] + (1 - kept) * value) : values;
    this.#times = [...this.#times, milliseconds].slice(-LIVE_WINDOW);
    const answer = this.engine.answerOf(this.#values), name = nameOf(answer), now = performance.now();
    if (name !== this.#next) [this.#next, this.#since] = [name, now];
    if (this.#shown === null || (name !== this.#shown && now - this.#since >= SETTLED_MS)) this.#shown = name;
    if (now - this.#drawn < BARS_MS) return;
    this.#drawn = now;
    showAnswer(answer);
    byId("answer").classList.toggle("unknown", this.#shown === PROBABLY_NONE);
    const [headline, note] = byId("overlay").children;
    headline.textContent = this.#shown;
    note.textContent = `${rate(this.#times)} pictures a second. Nothing leaves your device.`;
  }
}

function rate(times) {
  const value = 1000 / [...times].sort((a, b) => a - b)[Math.floor(times.length / 2)];
  return value.toFixed(value < 10 ? 1 : 0);
}

/** Stops the camera, also while the browser still asks for permission or the network loads. */
export function stopCamera() {
  camera.stop();
  mark("off", "Live camera");
  byId("said").setAttribute("aria-live", "polite");
  byId("here-note").textContent = "";
  say("");
}

/** What the camera shows right now, as a photo. */
export async function currentFrame() {
  const canvas = new OffscreenCanvas(camera.video.videoWidth, camera.video.videoHeight);
  canvas.getContext("2d").drawImage(camera.video, 0, 0);
  return new File([await canvas.convertToBlob({ type: "image/png" })], "camera.png", { type: "image/png" });
}
