// The network up to its last layer, on this device: what "Teach it" learns from, and grafts its files onto.

import { Engine } from "../device/engine.js";
import { byId, here, megabytes, reach, Told } from "./base.js";
import { deviceProblem } from "./device.js";

const FORMAT = "float16"; // half of float32's size, and its features to three digits

let engine = null;
let working = Promise.resolve(); // it runs one picture at a time

/** A sentence about what was done last. */
export const say = (text) => { byId("teach-status").textContent = text; };

/** `work` for a listener: what goes wrong in it is told. */
export const guard = (work) => async (...given) => {
  try {
    return await work(...given);
  } catch (error) {
    say(deviceProblem(error));
  }
};

/** Lets `work` use the engine, loaded with the trunk; calls come one after the other. */
export function withTrunk(work) {
  const result = working.then(async () => {
    if (typeof WebAssembly !== "object") throw new Told("This browser has no WebAssembly, which learning on this device needs. A current browser has it.");
    engine ??= new Engine(here("trunk/"));
    try {
      await engine.load(FORMAT, showProgress);
    } finally {
      byId("teach-loading").hidden = true;
    }
    return work(engine);
  });
  working = result.catch(() => {});
  return result;
}

function showProgress(done, total) {
  const [bar, text] = byId("teach-loading").children;
  byId("teach-loading").hidden = false;
  [bar.max, bar.value] = [total, done];
  text.textContent = `Loading the network onto this device: ${megabytes(done)} of ${megabytes(total)} MB`;
}

export const bytesOf = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));

/** Features of everyday photos, for "none of these"; none where they belong to other weights. */
export async function loadEveryday() {
  const response = await reach("trunk/everyday.json");
  if (!response.ok) return [];
  const { weights_sha256, features, low, step, vectors } = await response.json();
  const ours = await withTrunk((trunk) => trunk.manifest());
  if (weights_sha256 !== ours.weights_sha256) return [];
  const numbers = Float32Array.from(bytesOf(vectors), (value) => low + step * value);
  return Array.from({ length: numbers.length / features }, (_, place) => numbers.subarray(place * features, (place + 1) * features));
}
