// One photo: it is shown, named by the server or by this device, and compared.

import { cropBox } from "../device/resize.js";
import { byId, create, facts, here, isPrivate, reach, sentence, storage, tell, Told } from "./base.js";
import { clearAnswer, judge, say, showAnswer, showProblem } from "./answer.js";
import { currentFrame, isLive, isStarting, startCamera, stopCamera } from "./camera.js";
import { deviceProblem, engineName, withEngine } from "./device.js";
import { clearRows, compared, drawFormats, showAllRows, showRow } from "./formats.js";
import { shrunk, wayOut } from "./prepare.js";
import { share } from "./share.js";
import { addressOf, call, upload } from "./server.js";

let turn = 0; // of what is being looked at; an answer to an older turn is not shown
let photo = null; // { blob, truth, reference: promise of the upload, answer, time }
let wantedExample = null; // the one clicked last; null once a photo or the camera was chosen instead
const KEPT = "photo"; // the name of a visitor's own in the storage of this tab
const judged = new Map(); // example -> whether its answer was right

const full = (wait) => { if (wait) say("Busy right now; trying again ..."); };

/** Shows a photo and names it; `truth` is what an example shows. */
async function take(blob, truth = undefined, file = null) {
  const mine = ++turn;
  stopCamera();
  tell("");
  photo = { blob, truth, file, reference: null, answer: null, sent: false };
  const shown = photo;
  clearAnswer();
  clearRows();
  resetLook();
  for (const id of ["measure", "share"]) byId(id).disabled = true;
  say("Looking ...");
  await stage(blob);
  if (mine !== turn) return;
  try {
    if (isPrivate()) await nameHere(mine);
    else await nameThere(mine, shown);
  } catch (error) {
    if (mine !== turn) return;
    showProblem(isPrivate() ? deviceProblem(error) : sentence(wayOut(error)));
    byId("look").disabled = true;
  } finally {
    if (mine === turn) {
      say("");
      byId("measure").disabled = !photo.answer;
    }
  }
}

function show(answer) {
  photo.answer = answer;
  const verdict = judge(answer, photo.truth);
  showAnswer(answer, verdict);
  byId("share").disabled = false;
  if (!verdict || !photo.file) return;
  judged.set(photo.file, verdict.right);
  const right = [...judged.values()].filter(Boolean).length;
  byId("tally").textContent = judged.size > 1 ? `${right} of ${judged.size} examples right so far.` : "";
}

async function nameThere(mine, shown) {
  shown.reference ??= (shown.small ??= shrunk(shown.blob)).then(upload);
  const reference = await shown.reference;
  shown.sent = true;
  byId("look").disabled = !facts.explains;
  const [answer] = await call("classify", [reference], full);
  if (mine !== turn) return;
  show(answer);
  await compareFirst(mine);
}

/** The formats that are compared unasked; just after the server's start, TensorFlow's answer comes later. */
async function compareFirst(mine) {
  const quick = facts.formats.filter(({ name, engine }) => engine !== "keras" && facts.first.includes(name));
  if (quick.length && !facts.first.every((name) => facts.ready.includes(name))) {
    await compareThere(quick.map(({ name }) => name), mine);
    if (mine !== turn) return;
    await compareThere(facts.first, mine, "Loading Keras on the server ...");
    facts.ready = facts.first;
  } else {
    await compareThere(facts.first, mine);
  }
}

/** Times the server's formats on the photo; the rows fill when the answer is there. */
async function compareThere(formats, mine, meanwhile = "Measuring on the server ...") {
  say(meanwhile);
  const [answers] = await call("compare", [await photo.reference, 20, formats], full);
  if (mine !== turn) return;
  for (const [name, answer] of Object.entries(answers)) showRow(name, answer, "there");
  byId("speed").textContent = compared(answers);
}

/** The photo on this device; it is not sent anywhere. */
async function nameHere(mine, format = facts.device_first, answerToo = true) {
  const answer = await withEngine(format, (engine) => {
    if (mine !== turn) return null;
    say("Measuring on this device ...");
    return engine.answer(photo.blob);
  });
  if (mine !== turn || !answer) return;
  if (answerToo) show(answer);
  showRow(format, answer, "here");
  photo.time ??= answer.latency_ms.p50;
  byId("here-note").textContent = `${photo.sent ? "For this run nothing was sent." : "This photo stayed on your device."} ${engineName()}.`;
}

/** Everything on the server and on this device; of the camera, what it shows right now. */
async function measureAll() {
  if (isLive()) await take(await currentFrame());
  const mine = turn;
  byId("measure").disabled = true;
  showAllRows();
  try {
    if (photo.reference) await compareThere(facts.formats.map(({ name }) => name), mine);
    for (const format of facts.engine ? facts.device : []) {
      if (mine !== turn) return;
      await nameHere(mine, format, false);
    }
  } catch (error) {
    if (mine === turn) byId("here-note").textContent = photo.reference && error instanceof Told ? sentence(error) : deviceProblem(error);
  } finally {
    if (mine === turn) say("");
    byId("measure").disabled = !photo?.answer;
  }
}

async function runHere() {
  if (isLive() || !photo) return;
  const mine = turn, button = byId("run-here");
  button.disabled = true;
  try {
    await nameHere(mine, facts.device_first, !photo.answer);
  } catch (error) {
    if (mine === turn) byId("here-note").textContent = deviceProblem(error);
  } finally {
    button.disabled = false;
    if (mine === turn) say("");
  }
}

/** What the stage shows: "photo", "video" or "nothing". */
function showOnStage(what) {
  byId("one").classList.toggle("live-on", what === "video");
  byId("frame").hidden = what === "nothing";
  byId("empty").hidden = what !== "nothing";
  byId("shown").hidden = what !== "photo";
  byId("video").hidden = byId("overlay").hidden = what !== "video";
  byId("map").hidden = true;
  if (what === "video") for (const line of byId("overlay").children) line.textContent = "";
  if (what === "photo") frameFor(byId("shown").naturalWidth, byId("shown").naturalHeight);
}

async function stage(blob) {
  const image = byId("shown");
  if (image.src.startsWith("blob:")) URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(blob);
  await image.decode().catch(() => {}); // what the browser can't show, the server may still refuse in words
  if (photo.blob !== blob) return;
  showOnStage(image.naturalWidth ? "photo" : "nothing");
  byId("empty").textContent = "This browser can't show the photo.";
}

/** The frame takes the picture's shape, and the square that the network sees is outlined on it. */
function frameFor(width, height) {
  byId("frame").style.setProperty("--ratio", width / height);
  const crop = byId("crop"), [left, top, across, down] = cropBox(facts.input, width, height);
  crop.hidden = facts.input.mode !== "center_crop";
  crop.classList.remove("quiet");
  const share = (pixels, of) => `${(100 * pixels) / of}%`;
  Object.assign(crop.style, { left: share(left, width), top: share(top, height), width: share(across, width), height: share(down, height) });
}

function resetLook() {
  const look = byId("look");
  look.value = 0;
  look.disabled = true;
  byId("map").hidden = true;
  byId("map").removeAttribute("src");
  byId("crop").classList.remove("quiet");
  byId("looked").textContent = "";
}

/** Blends the map over the photo; it is drawn when it is first asked for. */
async function blend() {
  const mine = turn, map = byId("map"), look = byId("look"), off = look.value === "0";
  map.style.opacity = look.value / 100;
  map.hidden = !map.src || off;
  byId("crop").classList.toggle("quiet", !off);
  if (map.src || photo.map || off) return;
  const asked = photo;
  asked.map = true;
  byId("looked").textContent = "Drawing ...";
  try {
    const [picture, label] = await call("explain", [await photo.reference], full);
    if (mine !== turn) return;
    map.src = addressOf(picture);
    map.hidden = look.value === "0";
    byId("looked").textContent = `for ${facts.phrase[label] ?? label}`;
  } catch (error) {
    asked.map = false;
    if (mine === turn) byId("looked").textContent = sentence(error);
  }
}

/** The row of photos to try. */
async function showExamples() {
  const list = await (await reach("examples/index.json")).json();
  byId("examples").replaceChildren(...list.map((example) => {
    const { file, caption, what } = example;
    const image = create("img", { src: here(`examples/${encodeURIComponent(file)}`), alt: what === caption ? "" : what, loading: "lazy" });
    const button = create("button", { type: "button", "data-file": file }, image, create("span", {}, caption));
    button.addEventListener("click", () => tryExample(example));
    return create("li", {}, button);
  }));
  const names = [...new Set(list.filter(({ credit }) => credit).map(({ credit }) => credit.split(",")[0]))];
  const links = names.map((name) => {
    const { url } = list.find(({ credit }) => credit?.startsWith(name));
    return create("a", { target: "_blank", rel: "noopener", href: /^https?:/.test(url) ? url : null }, name);
  });
  const more = links.length > 2 ? ` and ${links.length - 1} others` : "";
  byId("credits").hidden = !links.length;
  byId("credits").replaceChildren(create("summary", {}, `Photos: CC BY 2.0, by ${names[0]}${more}`), ...links.flatMap((link) => [link, ", "]).slice(0, -1));
  return list;
}

async function tryExample({ file, label, trained_on: seen }) {
  wantedExample = file;
  try {
    const response = await reach(`examples/${encodeURIComponent(file)}`);
    if (!response.ok) throw new Told("The server has no such example any more. Reload the page.");
    const blob = new File([await response.blob()], file, { type: response.headers.get("content-type") ?? "" });
    if (wantedExample !== file) return;
    press(file);
    storage("session")?.removeItem(KEPT);
    await take(blob, seen ? undefined : label, file); // an answer that was learned by heart is not judged
  } catch (error) {
    if (wantedExample === file) tell(sentence(error)); // what was shown before stays
  }
}

/** Marks the example that is shown; null for none of them. */
function press(file) {
  for (const button of byId("examples").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button.dataset.file === file));
  }
}

export function fromVisitor(file) {
  wantedExample = null;
  press(null);
  take(file);
  keepForReload(photo).catch(() => {}); // what can't be kept is lost by Reload, as on any page
}

/** A visitor's own photo outlasts Reload, in this tab alone, until another one is looked at. */
async function keepForReload(own) {
  const reader = new FileReader();
  reader.onload = () => {
    try {
      if (photo.blob === own.blob) storage("session")?.setItem(KEPT, reader.result);
    } catch {} // no room
  };
  reader.readAsDataURL(await (own.small ??= shrunk(own.blob)));
}

/** The photo that was shown before Reload; null for none. */
async function photoBeforeReload() {
  const kept = storage("session")?.getItem(KEPT);
  storage("session")?.removeItem(KEPT); // so that a photo that breaks the page does so once
  return kept && (await fetch(kept)).blob();
}

async function toggleCamera() {
  wantedExample = null; // one that is still on its way must not end the camera
  if (isLive() || isStarting()) return endLive();
  turn += 1;
  tell("");
  try {
    await startCamera(() => {
      showOnStage("video");
      frameFor(byId("video").videoWidth, byId("video").videoHeight);
      clearRows();
      resetLook();
      byId("measure").disabled = byId("share").disabled = false;
    }, () => facts.device_first);
  } catch (error) {
    restore();
    tell(deviceProblem(error)); // the last answer stays
  }
}

/** Back from the camera to the photo before it, also while the browser still asks for permission. */
function endLive() {
  stopCamera();
  restore();
}

function restore() {
  if (!byId("one").classList.contains("live-on")) return;
  if (photo) take(photo.blob, photo.truth, photo.file);
  else {
    showOnStage("nothing");
    clearAnswer();
  }
}

/** The camera stops when another tab is shown. */
export function leaveOne() {
  if (isLive() || isStarting()) endLive();
}

/** The switch "keep photos on this device" was moved: what is shown is named again, as it is now wanted. */
export function privacyChanged() {
  if (photo && !isLive()) take(photo.blob, photo.truth, photo.file);
}

async function shareIt() {
  if (isLive()) await take(await currentFrame());
  if (photo?.answer) await share(photo, byId("shown"));
}

export async function startOne() {
  drawFormats();
  document.querySelector(".look").hidden = !facts.explains;
  clearAnswer();
  byId("live").addEventListener("click", toggleCamera);
  byId("measure").addEventListener("click", measureAll);
  byId("run-here").addEventListener("click", runHere);
  byId("share").addEventListener("click", () => shareIt().catch((error) => tell(sentence(error))));
  byId("look").addEventListener("input", blend);
  const list = await showExamples(), before = await photoBeforeReload();
  if (turn) return;
  if (before) fromVisitor(new File([before], "photo", { type: before.type }));
  else if (list.length) await tryExample(list[0]);
}
