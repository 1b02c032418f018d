// The network up to its last layer, on this device: what "Teach it" learns from, and grafts its files onto.

import { byId, bytesOf, reach, Told } from "./base.js";
import { deviceProblem, queuedEngine } from "./device.js";

const FORMAT = "float16"; // half of float32's size, and its features to three digits

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

const trunk = queuedEngine("trunk/", "teach-loading");

/** Lets `work` use the engine, loaded with the trunk; calls come one after the other. */
export async function withTrunk(work) {
  if (typeof WebAssembly !== "object") throw new Told("This browser has no WebAssembly, which learning on this device needs. A current browser has it.");
  return trunk.use(FORMAT, work);
}

/** Features of everyday photos, for "none of these"; none where they belong to other weights. */
export async function loadEveryday() {
  const response = await reach("trunk/everyday.json");
  if (!response.ok) return [];
  const { weights_sha256, features, low, step, vectors } = await response.json();
  const ours = await withTrunk((engine) => engine.manifest());
  if (weights_sha256 !== ours.weights_sha256) return [];
  const numbers = Float32Array.from(bytesOf(vectors), (value) => low + step * value);
  return Array.from({ length: numbers.length / features }, (_, place) => numbers.subarray(place * features, (place + 1) * features));
}
