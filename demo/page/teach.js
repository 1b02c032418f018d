// "Teach it": classes by name and photos, learned on this device after every photo. A page that offers it imports this.

import { byId, counted, create, onChosen, onDropped } from "./base.js";
import { bar, NONE_OF_THESE, PROBABLY_NONE } from "./answer.js";
import { UNREADABLE } from "./device.js";
import { probabilities } from "./learn.js";
import { answerOf, changed, events, lesson, model, MOST_CLASSES, MOST_PHOTOS, NONE, nameOf, problem, setOpened } from "./lesson.js";
import { hold, isOpen, openLens, release, smallPicture, stopLens } from "./lens.js";
import { cleanName, fromText, LINK, unpackHead } from "./link.js";
import { drawTaught, startTaught } from "./taught.js";
import { guard, loadEveryday, say, withTrunk } from "./trunk.js";

const CONTENT = `
  <div class="watched">
    <div id="lens" data-state="off"><video id="lens-video" muted playsinline aria-label="What your camera sees"></video>
      <canvas id="tried" width="96" height="96" role="img" aria-label="The photo that is being named" hidden></canvas>
      <p id="lens-said"></p></div>
    <div class="tools"><button id="lens-toggle" class="big" type="button">Use the camera</button>
      <label class="big">Try a photo<input id="try-photo" type="file" accept="image/*"></label></div>
    <ol id="guess" class="bars" tabindex="0" aria-label="What it takes this for"></ol>
    <p id="heard" class="unseen" role="status"></p>
    <div id="teach-loading" hidden><progress aria-label="Loading the network"></progress><p></p></div>
    <p id="teach-status" role="status"></p><button id="undo" type="button" hidden>Undo</button>
  </div>
  <div class="learned">
    <p id="opened" class="card" hidden><span></span> <button type="button">Teach it something else</button></p>
    <div id="own">
      <p class="lead">Name some things and show them to the camera, or add photos. It learns as you go. Photos stay on
        this device; nothing is kept when you leave the page.</p>
      <ol id="lesson" aria-label="Things to learn"></ol>
      <button id="add-class" type="button">Add a thing</button>
    </div>
    <section id="taught" class="card" aria-labelledby="taught-title" hidden></section>
  </div>
`;

const SMOOTH = 0.6; // of the last guess that is kept in the next one
const REDRAWN_MS = 120;
const HEARD_MS = 1500; // a new name has to stay this long before a screen reader says it
let smooth = null, drawn = 0, undo = null;
let saidSince = 0; // when the name over the camera became what it is

function offerUndo(text, back) {
  say(text);
  undo = back;
  byId("undo").hidden = false;
}

function forgetUndo() {
  undo = null;
  byId("undo").hidden = true;
}

/** A class's card; it stays while the class does, and `draw` brings it up to date. */
function classCard(one) {
  const isNone = one === lesson.none;
  const count = create("span", { class: "count" }), list = create("ul", { class: "shots" });
  const files = create("input", { type: "file", multiple: true, accept: "image/*" });
  const add = guard((chosen) => addFiles(one, chosen));
  onChosen(files, add);
  const shoot = create("button", { type: "button", class: "shoot big primary" }, "Hold to take photos");
  connectHolding(shoot, one);
  const remove = create("button", { type: "button" }, "Remove");
  remove.addEventListener("click", () => removeClass(one));
  const card = create("li", { class: "card" }, create("div", { class: "named" }, ...(isNone ? [noneSwitch()] : [nameField(one), remove])),
    create("div", { class: "tools" }, shoot, create("label", { class: "big" }, "Add photos", files), count), list);
  onDropped(card, add);
  return Object.assign(card, { draw: () => drawCard(one, { count, list, files, shoot, remove }) });
}

function drawCard(one, { count, list, files, shoot, remove }) {
  const isNone = one === lesson.none, title = isNone ? NONE : nameOf(one), number = one.photos.length, full = number >= MOST_PHOTOS;
  count.textContent = isNone ? noneCount(number) : `${counted(number, "photo")}${full ? ", the most it takes" : ""}`;
  for (const [element, does] of [[files, "Add photos of"], [shoot, "Hold to take photos of"], [remove, "Remove"], [list, "Photos of"]]) element.setAttribute("aria-label", `${does} ${title}`);
  shoot.disabled = files.disabled = full || (isNone && !one.ticked);
  for (const item of [...list.children]) if (!one.photos.includes(item.photo)) item.remove();
  one.photos.forEach((photo, place) => { if (list.children[place]?.photo !== photo) list.insertBefore(shot(one, photo), list.children[place] ?? null); });
  [...list.children].forEach((item, place) => item.firstChild.setAttribute("aria-label", `Remove photo ${place + 1} of ${title}`));
}

const noneCount = (number) => [lesson.everyday.length ? `${lesson.everyday.length} everyday photos are in it` : "", number ? `${number} of yours` : "show it your empty room"].filter(Boolean).join("; ");

function nameField(one) {
  const number = lesson.classes.indexOf(one) + 1;
  const field = create("input", { type: "text", value: one.name, maxlength: 40, placeholder: `Thing ${number}`, "aria-label": `Name of thing ${number}` });
  field.addEventListener("input", () => {
    one.name = cleanName(field.value);
    refresh();
    say(problem());
  });
  return field;
}

function noneSwitch() {
  const box = create("input", { type: "checkbox", checked: lesson.none.ticked });
  box.addEventListener("change", () => {
    lesson.none.ticked = box.checked;
    refresh();
  });
  return create("label", { class: "stay" }, box, create("strong", {}, NONE_OF_THESE), " so that anything else is not taken for one of them");
}

/** Held by pointer, Space or Enter; a plain click, as screen readers send it, is one photo. */
function connectHolding(button, one) {
  let byHand = false; // a click follows, which is not another photo
  const told = () => say(`${one === lesson.none ? NONE : `“${nameOf(one)}”`}: ${counted(one.photos.length, "photo")}.`);
  const start = guard(async () => {
    forgetUndo();
    hold((photo, single) => {
      addPhoto(one, photo);
      if (single) told();
    });
    await watch();
  });
  const end = () => { if (release()) told(); };
  button.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    button.setPointerCapture(event.pointerId); // the page may grow under the finger
    byHand = true;
    start();
  });
  for (const event of ["pointerup", "pointercancel", "lostpointercapture", "blur"]) button.addEventListener(event, end);
  for (const [event, act] of [["keydown", start], ["keyup", end]]) {
    button.addEventListener(event, (pressed) => {
      if (pressed.key !== " " && pressed.key !== "Enter") return;
      pressed.preventDefault();
      if (!pressed.repeat) act();
    });
  }
  button.addEventListener("click", () => {
    if (!byHand) start().then(end);
    byHand = false;
  });
  button.addEventListener("contextmenu", (event) => event.preventDefault()); // a long press on a phone
}

function shot(one, photo) {
  const button = create("button", { type: "button", title: "Remove" }, photo.picture);
  button.addEventListener("click", () => {
    const place = one.photos.indexOf(photo), next = button.parentElement.nextElementSibling ?? button.parentElement.previousElementSibling;
    one.photos.splice(place, 1);
    offerUndo("The photo is removed.", () => one.photos.splice(place, 0, photo));
    (next?.firstChild ?? byId("undo")).focus();
    refresh();
  });
  return Object.assign(create("li", {}, button), { photo });
}

function removeClass(one) {
  const place = lesson.classes.indexOf(one);
  offerUndo(`“${nameOf(one)}” is removed.`, () => lesson.classes.splice(place, 0, one));
  lesson.classes.splice(place, 1);
  refresh();
  byId("undo").focus();
}

function addPhoto(one, photo) {
  if (one.photos.length < MOST_PHOTOS) one.photos.push(photo);
  if (one.photos.length >= MOST_PHOTOS) release(); // its button, disabled now, hears no more of the pointer
  refresh();
}

/** Photos from files: looked at one after the other; what can't be read is told by its name. */
async function addFiles(one, files) {
  forgetUndo();
  const unreadable = [], room = MOST_PHOTOS - one.photos.length;
  for (const [place, file] of files.slice(0, room).entries()) {
    say(`Looking at photo ${place + 1} of ${files.length} ...`);
    try {
      addPhoto(one, await fromFile(file));
    } catch (error) {
      if (!error?.photo) throw error;
      unreadable.push(file.name);
    }
  }
  const notes = [files.length > room && `Only ${room} of ${files.length} were taken: ${MOST_PHOTOS} is the most.`, unreadable.length && `Can't be read here: ${unreadable.slice(0, 5).join(", ")}${unreadable.length > 5 ? " ..." : ""}. ${UNREADABLE}`];
  say(notes.filter(Boolean).join(" ") || problem());
}

async function fromFile(file) {
  const features = await withTrunk((engine) => engine.values(file));
  const bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  const picture = smallPicture(bitmap, bitmap.width, bitmap.height);
  bitmap.close();
  return { features, picture, name: file.name };
}

function refresh() {
  drawLesson();
  changed();
}

const cards = new Map(); // class -> its card

function drawLesson() {
  const shown = [...lesson.classes, lesson.none];
  for (const one of shown) if (!cards.has(one)) cards.set(one, classCard(one));
  const wanted = shown.map((one) => cards.get(one)), list = byId("lesson");
  [...list.children].filter((card) => !wanted.includes(card)).forEach((card) => card.remove());
  wanted.forEach((card, place) => { if (list.children[place] !== card) list.insertBefore(card, list.children[place] ?? null); });
  for (const card of wanted) card.draw();
  byId("add-class").disabled = lesson.classes.length >= MOST_CLASSES;
  if (!model()) clearGuess();
}

/** What the camera shows, or a photo that is tried, as a guess with a bar for each class. */
function guess(features, atOnce = false) {
  const answering = model();
  if (!answering) return clearGuess();
  const values = probabilities(answering, features), same = smooth?.length === values.length && !atOnce;
  smooth = same ? values.map((value, index) => SMOOTH * smooth[index] + (1 - SMOOTH) * value) : values;
  const now = performance.now();
  if (!atOnce && now - drawn < REDRAWN_MS) return;
  drawn = now;
  const answer = answerOf(answering, smooth);
  headline(answer.unknown ? PROBABLY_NONE : answer.label, now);
  drawBars(new Map(answering.names.map((name, index) => [name, smooth[index]])), answer.label);
}

function headline(text, now) {
  if (byId("lens-said").textContent !== text) [byId("lens-said").textContent, saidSince] = [text, now];
  else if (now - saidSince > HEARD_MS && byId("heard").textContent !== text) byId("heard").textContent = text;
}

/** A bar for each class in its place, also for those without photos, so that nothing jumps. */
function drawBars(shares, first = null) {
  const own = [...lesson.classes.map(nameOf), ...(lesson.none.ticked ? [NONE] : [])];
  const names = byId("own").hidden ? [...shares.keys()] : own;
  const rows = names.map((name) => Object.assign(bar({ label: name, score: shares.get(name) ?? 0, name: name === NONE ? NONE_OF_THESE : name }), { className: name === first ? "first" : "" }));
  byId("guess").replaceChildren(...rows);
}

function clearGuess() {
  smooth = null;
  byId("lens-said").textContent = byId("heard").textContent = "";
  drawBars(new Map());
}

async function watch() {
  byId("tried").hidden = true;
  await openLens(guess, (error) => guard(() => { throw error; })());
}

const tryPhoto = guard(async ([file]) => {
  stopLens();
  say("Naming it ...");
  const { features, picture } = await fromFile(file);
  byId("tried").getContext("2d").drawImage(picture, 0, 0);
  byId("tried").hidden = false;
  guess(features, true);
  say(model() ? `${file.name}: ${byId("lens-said").textContent}.` : "It has not learned anything yet.");
});

let openedHash = ""; // it is opened once, not each time that the tab is shown

/** Opens what stands in the address, if it is a link to something taught. */
export const openLink = guard(async (hash) => {
  if (!hash.startsWith(LINK) || hash === openedHash) return;
  const [{ weights_sha256 }, { length }] = await withTrunk(async (engine) => [await engine.manifest(), await engine.ofDrawn(0)]);
  const answering = unpackHead(fromText(hash.slice(LINK.length)), weights_sha256, length);
  showOpened(answering);
  openedHash = hash;
  byId("opened").firstChild.textContent = `This link knows: ${answering.names.join(", ")}. Show it something: what the camera sees stays on this device.`;
  say("");
});

function showOpened(answering) {
  setOpened(answering);
  byId("opened").hidden = !answering;
  byId("own").hidden = Boolean(answering);
  byId("lens-toggle").classList.toggle("primary", Boolean(answering));
  clearGuess();
  drawTaught();
}

function closeLink() {
  showOpened(null);
  openedHash = "";
  history.replaceState(null, "", "#teach");
  byId("lesson").querySelector("input")?.focus();
}

function addClass() {
  const one = { name: "", photos: [] };
  lesson.classes.push(one);
  refresh();
  cards.get(one).querySelector("input[type=text]").focus();
}

function undoLast() {
  undo?.();
  forgetUndo();
  say("");
  refresh();
  byId("add-class").focus();
}

/** Fills the tab. */
export function startTeach(place) {
  place.innerHTML = CONTENT;
  lesson.classes.push({ name: "", photos: [] }, { name: "", photos: [] });
  startTaught();
  drawLesson();
  byId("add-class").addEventListener("click", addClass);
  byId("undo").addEventListener("click", undoLast);
  byId("lens-toggle").addEventListener("click", guard(() => (isOpen() ? stopLens() : watch())));
  onChosen(byId("try-photo"), tryPhoto);
  onDropped(place, tryPhoto);
  byId("opened").lastElementChild.addEventListener("click", closeLink);
  for (const event of ["learned", "judged"]) events.addEventListener(event, guard(drawTaught));
  place.addEventListener("left", stopLens); // the camera stops when another tab is shown; what was taught stays
  guard(prepare)();
  addEventListener("beforeunload", (event) => { if (lesson.classes.some((one) => one.photos.length)) event.preventDefault(); });
}

/** What is loaded first: the network, and everyday photos as numbers. */
async function prepare() {
  lesson.everyday = await loadEveryday();
  refresh();
}
