// The camera of "Teach it": what it shows is guessed all the time, and becomes photos while a button is held.

import { byId } from "./base.js";
import { Camera } from "./device.js";
import { withTrunk } from "./trunk.js";

const EVERY_MS = 200; // between two photos while a button is held
const PICTURE = 96; // side of a small picture, pixels

let camera = null; // in the tab's video, once that is there
let held = null; // { take, last, once }: what becomes of the next pictures

export const isOpen = () => camera?.state === "on";

/** Opens the camera; from then on `seen` gets the features of every picture, and `failed` what ends that. */
export async function openLens(seen, failed) {
  camera ??= new Camera("lens-video");
  if (camera.state !== "off") return;
  try {
    const current = await camera.start();
    if (!current) return;
    mark("on", "Stop camera");
    watch(current, seen).catch((error) => {
      if (!current()) return; // stopped meanwhile
      stopLens();
      failed(error);
    });
  } catch (error) {
    stopLens();
    throw error;
  }
}

async function watch(current, seen) {
  while (current()) await nextPicture(current, seen);
}

async function nextPicture(current, seen) {
  const { video } = camera;
  let taking = null, picture = null;
  const features = await withTrunk((engine) => {
    if (!current()) return null;
    taking = held && performance.now() - held.last >= EVERY_MS ? held : null;
    if (taking) picture = smallPicture(video, video.videoWidth, video.videoHeight); // of the same moment
    return engine.frame(video);
  });
  if (!current()) return;
  if (taking && taking === held) take({ features, picture, name: "camera" });
  seen(features);
  await new Promise(requestAnimationFrame);
}

function take(photo) {
  const { take: wanted, once } = held;
  held.last = performance.now();
  if (once) held = null;
  wanted(photo, once);
}

export function stopLens() {
  camera?.stop();
  held = null;
  mark("off", "Use the camera");
}

function mark(state, text) {
  byId("lens").dataset.state = state;
  byId("lens-toggle").textContent = text;
}

/** From now on, pictures go to `take`, at least one; `release` ends it. `take` hears whether it gets a single one. */
export function hold(take) {
  held = { take, last: -Infinity, once: false };
}

/** Ends it; whether photos were taken. A press that was too short for one gets the next picture. */
export function release() {
  if (!held || held.once) return false;
  if (held.last > 0) held = null;
  else held.once = true;
  return !held;
}

/** The middle of a picture, small, for people. */
export function smallPicture(source, width, height) {
  const canvas = document.createElement("canvas"), side = Math.min(width, height);
  canvas.width = canvas.height = PICTURE;
  canvas.getContext("2d").drawImage(source, (width - side) / 2, (height - side) / 2, side, side, 0, 0, PICTURE, PICTURE);
  return canvas;
}
