// The visitor's own device: engines that run networks here, and the camera. Photos stay here.

import { Engine } from "../device/engine.js";
import { byId, facts, here, megabytes, Told } from "./base.js";

const CAMERA_PROBLEMS = {
  NotFoundError: "No camera was found on this device.",
  OverconstrainedError: "No camera was found on this device.",
  NotAllowedError: "Access to the camera was refused. Allow it in the browser's address bar, then try again.",
  NotReadableError: "The camera is in use by another program.",
};

/** An engine that is made when it is first needed, and holds one network: whoever uses it waits for the one before.
 * @param {string} bundle address of its files.
 * @param {string} place where its loading is shown.
 */
export function queuedEngine(bundle, place) {
  const queue = { engine: null, use };
  let working = Promise.resolve();
  const showProgress = (done, total) => {
    const [bar, text] = byId(place).children;
    byId(place).hidden = false;
    [bar.max, bar.value] = [total, done];
    text.textContent = `Loading onto this device: ${megabytes(done)} of ${megabytes(total)} MB`;
  };
  function use(format, work) {
    const result = working.then(async () => {
      queue.engine ??= new Engine(here(bundle));
      await queue.engine.load(format, showProgress).finally(() => { byId(place).hidden = true; });
      return work(queue.engine);
    });
    working = result.catch(() => {});
    return result;
  }
  return queue;
}

const own = queuedEngine("bundle/", "loading");

/** The engine of the page's bundle, with a format loaded; what it does in `work` is not disturbed by others. */
export async function withEngine(format, work) {
  if (!facts.engine) throw new Told("To name photos on this device, the page needs LiteRT.js: npm ci --prefix demo/device");
  return own.use(format, work);
}

export const engineName = () => own.engine?.engine ?? "";

/** A failure of the device as a sentence. */
export function deviceProblem(error) {
  if (error instanceof Told) return error.message;
  const goesOn = facts.server ? " The server's answers do not depend on this." : "";
  const cause = String(error?.message ?? error).replace(/\.$/, "");
  if (error?.photo) return UNREADABLE;
  if (!navigator.onLine || error?.network) {
    return `You are offline, or the files for this device can't be reached (${cause}).${goesOn}`;
  }
  return `This device can't run it: ${cause}.${goesOn}`;
}

export const UNREADABLE = "This photo can't be read here. Save it as JPEG, PNG or WebP and try again; on an iPhone: Settings, Camera, Formats, Most Compatible.";

/** The camera in one of the page's videos. */
export class Camera {
  state = "off"; // "waiting" while the browser asks for permission; "on"
  #stream = null;
  #asked = 0; // counts starts and stops; what belongs to an older one ends by itself

  constructor(video) {
    this.video = byId(video);
  }

  /** Shows what the camera sees.
   * @returns {Promise<?() => boolean>} whether it still shows it; null where it was stopped before it did.
   */
  async start() {
    const mine = ++this.#asked, current = () => mine === this.#asked;
    this.state = "waiting";
    try {
      const stream = await requested();
      if (!current()) return switchOff(stream);
      [this.state, this.#stream, this.video.srcObject] = ["on", stream, stream];
      await this.video.play();
      return current() ? current : null;
    } catch (error) {
      if (!current()) return null;
      this.stop();
      throw error;
    }
  }

  /** Switches it off, also while the browser still asks for permission. */
  stop() {
    this.#asked += 1;
    if (this.#stream) switchOff(this.#stream);
    [this.state, this.#stream, this.video.srcObject] = ["off", null, null];
  }
}

function switchOff(stream) {
  for (const track of stream.getTracks()) track.stop();
  return null;
}

async function requested() {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Told("This browser gives the page no camera: that needs https, or the machine that serves the page.");
  }
  try {
    return await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    throw new Told(CAMERA_PROBLEMS[error.name] ?? `The camera can't be used: ${error.message}.`);
  }
}
