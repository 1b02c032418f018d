// The visitor's own device: the engine that names photos here, and the camera. The photo stays here.

import { Engine } from "../device/engine.js";
import { byId, facts, here, megabytes, Told } from "./base.js";

const CAMERA_PROBLEMS = {
  NotFoundError: "No camera was found on this device.",
  OverconstrainedError: "No camera was found on this device.",
  NotAllowedError: "Access to the camera was refused. Allow it in the browser's address bar, then try again.",
  NotReadableError: "The camera is in use by another program.",
};

let own = null; // the engine of the page's bundle
let working = Promise.resolve(); // it holds one network: whoever uses it waits for the one before

/** The engine of the page's bundle, with a format loaded; what it does in `work` is not disturbed by others. */
export function withEngine(format, work) {
  const result = working.then(async () => {
    if (!facts.engine) throw new Told("To name photos on this device, the page needs LiteRT.js: npm ci --prefix demo/device");
    own ??= new Engine(here("bundle/"));
    try {
      await own.load(format, showProgress);
    } finally {
      byId("loading").hidden = true;
    }
    return work(own);
  });
  working = result.catch(() => {});
  return result;
}

export const engineName = () => own?.engine ?? "";

function showProgress(done, total) {
  const [bar, text] = byId("loading").children;
  byId("loading").hidden = false;
  bar.max = total;
  bar.value = done;
  text.textContent = `Loading onto this device: ${megabytes(done)} of ${megabytes(total)} MB`;
}

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

export async function openCamera() {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Told("This browser gives the page no camera: that needs https, or the machine that serves the page.");
  }
  try {
    return await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    throw new Told(CAMERA_PROBLEMS[error.name] ?? `The camera can't be used: ${error.message}.`);
  }
}

export const stopStream = (stream) => stream.getTracks().forEach((track) => track.stop());
