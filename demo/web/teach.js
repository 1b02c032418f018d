// "Teach it": classes by name and photos, a head in seconds, then tried at once.

const STAGES = {
  sending: "Sending the photos ...", reading: "Reading the photos ...", learning: "Looking at them and learning ...",
  exporting: "Writing the files for phones and web pages; this takes a minute ...", ready: "",
};
const NAMING = "Naming it ...", LOADING_TAUGHT = "Loading what it learned onto this device ...";
let lesson = []; // [{ name, photos: [{ blob, url }] }]
let training = false;
let taught = null; // what the server says of the last training
let tries = 0; // photos that were tried; an answer to an older one is not shown
let taughtEngine = null; // { frame, device: promise }
let lens = null; // the camera's stream in this tab
let asked = null; // the request for the camera that waits; a stream that comes for another one is stopped

const limitsOf = () => ({ fewest: +byId("teach").dataset.fewest, most: +byId("teach").dataset.most, classes: +byId("teach").dataset.classes });
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
  dropTaughtEngine(taughtEngine);
  stopLens();
  endTry();
  byId("taught").hidden = true;
}

/** Removes an engine, unless another one has taken its place. */
function dropTaughtEngine(engine) {
  if (!engine || engine !== taughtEngine) return;
  engine.frame.remove();
  taughtEngine = null;
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
  if (camera) stopLive();
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
  let stream = null, engine = null;
  try {
    stream = await openLens();
    if (!stream) return;
    byId("taught-live").textContent = "Stop camera";
    tell(LOADING_TAUGHT);
    engine = taughtEngine ??= openTaughtEngine();
    const { formats } = taught, device = await engine.device;
    await device.load(formats.includes("dynamic_int8") ? "dynamic_int8" : formats[0]);
    if (lens !== stream) return; // stopped meanwhile; another one may have been opened
    untell(LOADING_TAUGHT);
    byId("lens-said").hidden = false;
    while (lens === stream) await nameFrame(device, stream);
  } catch (error) {
    dropTaughtEngine(engine);
    if (lens !== stream) return;
    stopLens();
    tell(inSentence(error));
  }
}

function openTaughtEngine() {
  const address = `device/index.html?bundle=${encodeURIComponent(`../taught/${taught.token}/`)}`;
  const frame = create("iframe");
  return { frame, device: openEngine(address, frame) };
}

async function nameFrame(device, stream) {
  const video = document.querySelector("#lens video");
  const answer = await device.frame(video, video.videoWidth, video.videoHeight);
  if (lens !== stream) return;
  const [name, note] = byId("lens-said").children;
  name.textContent = answer.unknown ? "Probably none of these" : answer.label;
  note.textContent = `${percent(answer.score)}. Nothing leaves your device.`;
  await new Promise(requestAnimationFrame);
}

async function startTeach() {
  facts ??= await (await reach("bundle/page.json")).json();
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
  // The camera stops when another tab is shown, and what was taught goes when the page is left.
  new IntersectionObserver(([{ target }]) => { if (!target.offsetParent) stopLens(); }).observe(byId("teach"));
  addEventListener("pagehide", forgetTaught);
}
