// "Teach it": classes by name and photos, a head in seconds, then tried at once. A page that offers it imports this.

import { Engine } from "../device/engine.js";
import { byId, create, facts, here, percent, Told } from "./base.js";
import { bar } from "./answer.js";
import { deviceProblem, openCamera, stopStream } from "./device.js";
import { call, follow, upload } from "./server.js";

const content = ({ most_classes, fewest, most, minutes }) => `
  <p class="lead">Name 2 to ${most_classes} things, add ${fewest} to ${most} photos of each, and press Train.
  Call one “none of these” and fill it with anything else, and it learns to say so.</p>
  <ol id="lesson" aria-label="Things to learn"></ol>
  <div class="tools">
    <button id="add-class" type="button">Add a class</button>
    <button id="shooting" type="button">Use the camera</button>
    <button id="train" class="big primary" type="button" disabled>Train</button>
  </div>
  <p id="teach-status" role="status"></p>
  <div id="lens" hidden><video muted playsinline aria-label="What your camera sees"></video>
    <p id="lens-said" hidden><strong></strong><span></span></p></div>
  <section id="taught" class="card" aria-labelledby="taught-title" hidden>
    <h2 id="taught-title"></h2>
    <p id="taught-how"></p>
    <ul id="untaught" class="unreadable"></ul>
    <div class="tools">
      <label class="big primary">Try a photo<input id="taught-photo" type="file" accept="image/*"></label>
      <button id="taught-live" class="big" type="button">Live camera</button>
      <a id="taught-zip" class="big" download>Download</a>
    </div>
    <div class="tried"><img id="taught-shown" alt="The photo that is being named" hidden>
      <div aria-live="polite"><p id="taught-name"></p><p id="taught-sure"></p>
        <ol class="bars"></ol></div></div>
  </section>
  <p class="soft">Photos are sent to the machine that serves this page and deleted there once they are
  learned. What it learned is deleted when you leave the page or don't use it for ${minutes}
  minutes.</p>
`;

const STAGES = {
  sending: "Sending the photos ...", reading: "Reading the photos ...", learning: "Looking at them and learning ...",
  exporting: "Writing the files for phones and web pages; this takes a minute ...", ready: "",
};
const NAMING = "Naming it ...", LOADING_TAUGHT = "Loading what it learned onto this device ...";
let lesson = []; // [{ name, photos: [{ blob, url }] }]
let training = false;
let taught = null; // what the server says of the last training
let tries = 0; // photos that were tried; an answer to an older one is not shown
let taughtEngine = null; // names the camera's pictures
let lens = null; // the camera's stream in this tab
let asked = null; // the request for the camera that waits; a stream that comes for another one is stopped

const limitsOf = () => ({ ...facts.lessons, classes: facts.lessons.most_classes });
const tell = (text) => { byId("teach-status").textContent = text; };
const untell = (text) => { if (byId("teach-status").textContent === text) tell(""); };
const inSentence = (error) => (error instanceof Told ? error.message : deviceProblem(error));

function drawLesson() {
  const { most, classes } = limitsOf();
  byId("lesson").replaceChildren(...lesson.map(classCard));
  byId("add-class").disabled = lesson.length >= classes;
  for (const one of lesson) one.photos.splice(most);
  judge();
}

function classCard(one, place) {
  const name = create("input", { type: "text", maxlength: 40, value: one.name, placeholder: `Thing ${place + 1}`, "aria-label": `Name of thing ${place + 1}` });
  name.addEventListener("input", () => { one.name = name.value; judge(); });
  const files = create("input", { type: "file", multiple: true, accept: "image/*", "aria-label": `Photos of thing ${place + 1}` });
  files.addEventListener("change", () => addPhotos(one, files.files));
  const shoot = create("button", { type: "button", class: "shoot", disabled: !lens }, "Shoot");
  shoot.addEventListener("click", () => shootOne(one, place));
  const remove = create("button", { type: "button", "aria-label": `Remove thing ${place + 1}` }, "Remove");
  remove.addEventListener("click", () => { lesson.splice(place, 1); drawLesson(); });
  const card = create("li", { class: "card" }, name,
    create("div", { class: "tools" }, create("label", { class: "big" }, "Add photos", files), shoot,
      ...(lesson.length > 2 ? [remove] : []), create("span", { class: "count" }, countOf(one))),
    create("ul", { class: "shots" }, ...one.photos.map((photo, number) => shot(one, photo, number))));
  card.addEventListener("dragover", (event) => event.preventDefault());
  card.addEventListener("drop", (event) => { event.preventDefault(); addPhotos(one, event.dataTransfer.files); });
  return card;
}

function countOf({ photos }) {
  const { fewest, most } = limitsOf();
  if (photos.length < fewest) return `${photos.length} photo${photos.length === 1 ? "" : "s"}; at least ${fewest}`;
  return photos.length < most ? `${photos.length} photos` : `${most} photos, the most it takes`;
}

function shot(one, { url }, number) {
  const button = create("button", { type: "button", "aria-label": `Remove photo ${number + 1}`, title: "Remove" }, create("img", { src: url, alt: "" }));
  button.addEventListener("click", () => { URL.revokeObjectURL(url); one.photos.splice(number, 1); drawLesson(); });
  return create("li", {}, button);
}

function addPhotos(one, files) {
  for (const blob of files) one.photos.push({ blob, url: URL.createObjectURL(blob) });
  drawLesson();
}

/** Whether it can be trained, and what is missing. */
function judge() {
  const { fewest } = limitsOf();
  const names = lesson.map(({ name }) => name.trim());
  const ready = names.every(Boolean) && new Set(names).size === names.length && lesson.every(({ photos }) => photos.length >= fewest);
  byId("train").disabled = training || !ready;
}

/** Sends every photo, trains, and shows how good it is. */
async function train() {
  training = true;
  judge();
  // A copy: the lesson may be edited while its photos are sent.
  const chosen = lesson.map(({ name, photos }) => ({ name: name.trim(), photos: [...photos] }));
  try {
    tell(STAGES.sending);
    const classes = [];
    for (const { name, photos } of chosen) {
      const mark = Math.random().toString(36).slice(2); // so that no other upload has the same place
      const references = await Promise.all(photos.map(({ blob }, number) => upload(new File([blob], `${mark}-${number}.jpg`))));
      references.forEach((reference, number) => { reference.orig_name = photos[number].blob.name ?? `photo ${number + 1}`; });
      classes.push({ name, photos: references });
    }
    forgetTaught();
    await follow("teach", [classes], ([told]) => showStage(told), (wait) => { if (wait) tell("Somebody else is teaching right now; yours comes next."); });
  } catch (error) {
    tell(inSentence(error));
  } finally {
    training = false;
    judge();
  }
}

function showStage(told) {
  tell(STAGES[told.stage] ?? "");
  if (told.stage === "exporting" || told.stage === "ready") showTaught(told);
}

function showTaught(told) {
  const [low, high] = told.interval_95.map(percent);
  taught = told;
  byId("taught").hidden = false;
  byId("taught-title").textContent = `Right on ${percent(told.accuracy)} of ${told.photos} photos`;
  byId("taught-how").textContent = `95 % interval: ${low} to ${high}. Each photo was named by a version that had not seen it (cross-validation).`;
  byId("untaught").replaceChildren(...told.unreadable.map(({ class: name, problem }) => create("li", {}, create("b", {}, name), ` ${problem}`)));
  const ready = told.stage === "ready";
  byId("taught-photo").disabled = byId("taught-live").disabled = !ready;
  byId("taught-zip").hidden = !ready;
  if (!ready) return;
  byId("taught-zip").href = here(`taught/${told.token}/${told.archive}`);
  byId("taught-zip").textContent = `Download for phones and web (${(told.archive_bytes / 1e6).toFixed(1)} MB)`;
  byId("taught-live").hidden = !told.formats.length;
}

/** Nothing of what was taught stays, here or on the server. */
function forgetTaught() {
  if (taught?.token) navigator.sendBeacon(here(`taught/${taught.token}/forget`));
  taught = null;
  taughtEngine = null;
  stopLens();
  endTry();
  byId("taught").hidden = true;
}

function showTaughtAnswer(answer, place = document.querySelector("#taught .bars")) {
  byId("taught-name").textContent = !answer ? "" : answer.unknown ? "Probably none of these" : answer.label;
  const known = taught?.class_names.filter((name) => name !== taught.other) ?? [];
  byId("taught-sure").textContent = answer && !answer.unknown ? `${percent(answer.score)} sure, if it is one of these ${known.length}.` : "";
  place.replaceChildren(...(answer?.predictions ?? []).map(bar));
}

/** Nothing stays of the photo that was tried last, nor comes of it any more. */
function endTry() {
  tries += 1;
  untell(NAMING);
  byId("taught-shown").hidden = true;
  showTaughtAnswer(null);
}

async function tryTaught(file) {
  stopLens();
  endTry();
  const image = byId("taught-shown"), mine = tries;
  if (image.src) URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(file);
  image.hidden = false;
  tell(NAMING);
  try {
    const [answer] = await call("try_taught", [taught.token, await upload(file)]);
    if (mine !== tries) return;
    showTaughtAnswer(answer);
    untell(NAMING);
  } catch (error) {
    if (mine === tries) tell(inSentence(error));
  }
}

/** The camera's stream once it is shown; null where it was stopped before that. */
async function openLens() {
  const mine = asked = Symbol("a request for the camera");
  try {
    const stream = await openCamera();
    if (mine === asked) await showLens(stream);
    else stopStream(stream);
    return mine === asked ? stream : null;
  } catch (error) {
    if (mine !== asked) return null;
    stopLens();
    throw error;
  } finally {
    if (mine === asked) asked = null;
  }
}

async function showLens(stream) {
  const video = document.querySelector("#lens video");
  lens = stream;
  video.srcObject = stream;
  byId("lens").hidden = false;
  byId("shooting").textContent = "Stop camera";
  await video.play();
}

function stopLens() {
  if (lens) stopStream(lens);
  lens = asked = null;
  untell(LOADING_TAUGHT);
  byId("lens").hidden = byId("lens-said").hidden = true;
  byId("shooting").textContent = "Use the camera";
  byId("taught-live").textContent = "Live camera";
  document.querySelectorAll("#lesson .shoot").forEach((button) => { button.disabled = true; });
}

async function toggleShooting() {
  if (lens) return stopLens();
  if (asked) return; // the browser asks for permission already
  try {
    if (!(await openLens())) return;
    document.querySelectorAll("#lesson .shoot").forEach((button) => { button.disabled = false; });
  } catch (error) {
    tell(inSentence(error));
  }
}

async function shootOne(one, place) {
  const video = document.querySelector("#lens video");
  const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
  canvas.getContext("2d").drawImage(video, 0, 0);
  addPhotos(one, [await canvas.convertToBlob({ type: "image/jpeg", quality: 0.92 })]);
  document.querySelectorAll("#lesson .shoot")[place].focus(); // the cards were drawn anew
}

/** The camera's pictures named by what was taught, in this browser. */
async function liveTaught() {
  if (lens) return stopLens();
  if (asked) return; // the browser asks for permission already
  endTry();
  let stream = null;
  try {
    stream = await openLens();
    if (!stream) return;
    byId("taught-live").textContent = "Stop camera";
    tell(LOADING_TAUGHT);
    const device = (taughtEngine ??= new Engine(here(`taught/${taught.token}/`)));
    const { formats } = taught;
    await device.load(formats.includes("dynamic_int8") ? "dynamic_int8" : formats[0]);
    if (lens !== stream) return; // stopped meanwhile; another one may have been opened
    untell(LOADING_TAUGHT);
    byId("lens-said").hidden = false;
    while (lens === stream) await nameFrame(device, stream);
  } catch (error) {
    if (lens !== stream) return;
    stopLens();
    tell(inSentence(error));
  }
}

async function nameFrame(device, stream) {
  const video = document.querySelector("#lens video");
  const answer = device.answerOf(await device.frame(video));
  if (lens !== stream) return;
  const [name, note] = byId("lens-said").children;
  name.textContent = answer.unknown ? "Probably none of these" : answer.label;
  note.textContent = `${percent(answer.score)}. Nothing leaves your device.`;
  await new Promise(requestAnimationFrame);
}

/** Fills the tab. */
export function startTeach(place) {
  place.innerHTML = content(facts.lessons); // numbers alone are filled in
  lesson = [{ name: "", photos: [] }, { name: "", photos: [] }];
  drawLesson();
  byId("add-class").addEventListener("click", () => {
    lesson.push({ name: "", photos: [] });
    drawLesson();
    document.querySelector("#lesson > :last-child input").focus();
  });
  byId("train").addEventListener("click", train);
  byId("shooting").addEventListener("click", toggleShooting);
  byId("taught-live").addEventListener("click", liveTaught);
  byId("taught-photo").addEventListener("change", ({ target }) => {
    if (target.files[0]) tryTaught(target.files[0]);
    target.value = "";
  });
  place.addEventListener("left", stopLens); // the camera stops when another tab is shown
  addEventListener("pagehide", forgetTaught); // what was taught goes when the page is left
}
