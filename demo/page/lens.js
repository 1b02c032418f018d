// The camera of "Teach it": what it shows is guessed all the time, and becomes photos while a button is held.

import { byId } from "./base.js";
import { openCamera, stopStream } from "./device.js";
import { withTrunk } from "./trunk.js";

const EVERY_MS = 200; // between two photos while a button is held
const PICTURE = 96; // side of a small picture, pixels

let stream = null;
let asked = null; // the request for the camera that waits; a stream that comes for another one is stopped
let held = null; // { take, last, once }: what becomes of the next pictures

export const isOpen = () => stream !== null;

/** Opens the camera; from then on `seen` gets the features of every picture, and `failed` what ends that. */
export async function openLens(seen, failed) {
  if (stream || asked) return;
  const mine = asked = Symbol("a request for the camera");
  try {
    const opened = await openCamera();
    if (mine !== asked) return stopStream(opened);
    await show(opened);
    watch(opened, seen).catch((error) => { stopLens(); failed(error); });
  } catch (error) {
    if (mine === asked) stopLens();
    throw error;
  } finally {
    if (mine === asked) asked = null;
  }
}

async function watch(opened, seen) {
  while (stream === opened) await nextPicture(opened, seen);
}

async function show(opened) {
  const video = byId("lens-video");
  stream = opened;
  video.srcObject = opened;
  byId("lens").dataset.state = "on";
  byId("lens-toggle").textContent = "Stop camera";
  await video.play();
}

async function nextPicture(opened, seen) {
  const video = byId("lens-video");
  let taking = null, picture = null;
  const features = await withTrunk((engine) => {
    if (stream !== opened) return null;
    taking = held && performance.now() - held.last >= EVERY_MS ? held : null;
    if (taking) picture = smallPicture(video, video.videoWidth, video.videoHeight); // of the same moment
    return engine.frame(video);
  });
  if (stream !== opened) return;
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
  if (stream) stopStream(stream);
  stream = asked = held = null;
  byId("lens-video").srcObject = null;
  byId("lens").dataset.state = "off";
  byId("lens-toggle").textContent = "Use the camera";
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
