// One photo: it is shown, named by the server or by this device, and compared.

let turn = 0; // of what is being looked at; an answer to an older turn is not shown
let photo = null; // { blob, reference: promise of the upload, caption }

const newTurn = () => { turn += 1; };
const chosenFormat = () => byId("here-format")?.value ?? facts.device_first;
const isPrivate = () => byId("private")?.checked ?? false;
const full = (wait) => { if (wait) say("Many visitors are measuring right now. The page tries again by itself."); };

/** Shows a photo and names it. */
async function take(blob, alone = isPrivate()) {
  newTurn();
  if (camera) stopLive();
  photo = { blob, reference: null };
  const mine = turn, shown = photo;
  clearAnswer();
  clearRows();
  resetLook(alone);
  byId("compare").disabled = true; // until the photo is there
  say("Measuring ...");
  await stage(blob);
  if (mine !== turn) return;
  if (alone) return runHere();
  try {
    shown.reference = upload(blob);
    const reference = await shown.reference;
    const [answer] = await call("classify", [reference], full);
    if (mine !== turn) return;
    showAnswer(answer);
    await compareFirst(mine);
    if (mine === turn && rows.get("here")?.wanted) await runHere(false);
  } catch (error) {
    if (mine !== turn) return;
    showProblem(sentence(error));
    byId("look").disabled = true;
    say("");
  }
}

/** The formats that are compared unasked; just after the server's start, TensorFlow's answer comes later. */
async function compareFirst(mine) {
  const quick = facts.formats.filter(({ name, engine }) => engine !== "keras" && facts.first.includes(name));
  if (quick.length && !facts.first.every((name) => facts.ready.includes(name))) {
    await compare(quick.map(({ name }) => name));
    if (mine !== turn) return;
    await compare(facts.first, "Loading Keras on the server ...");
    facts.ready = facts.first;
  } else {
    await compare(facts.first);
  }
}

/** Times the server's formats on the photo; the rows fill when the answer is there. */
async function compare(formats, meanwhile = "Measuring ...") {
  const mine = turn;
  say(meanwhile);
  byId("compare").disabled = true;
  try {
    const [answers] = await call("compare", [await photo.reference, 20, formats], full);
    if (mine !== turn) return;
    for (const [name, answer] of Object.entries(answers)) showRow(name, answer);
    byId("speed").textContent = compared(answers);
  } finally {
    byId("compare").disabled = !photo?.reference;
    if (mine === turn) say("");
  }
}

/** The photo in the visitor's browser; it is not sent anywhere. */
async function runHere(answerToo = true) {
  const mine = turn;
  rows.get("here").wanted = true;
  byId("run-here").disabled = true;
  say(hidden ? "Measuring on this device ..." : "Loading the network onto this device, some 10 MB the first time ...");
  try {
    const device = await engine();
    await device.load(chosenFormat());
    if (mine !== turn) return;
    say("Measuring on this device ...");
    const answer = await device.answer(photo.blob);
    if (mine !== turn) return;
    if (answerToo) showAnswer(answer);
    showRow("here", answer);
    const stayed = photo.reference ? "For this run nothing was sent." : "This photo stayed on your device.";
    byId("here-note").textContent = `${stayed} ${device.engine}, ${device.source}.`;
  } catch (error) {
    if (mine !== turn) return;
    if (answerToo) showProblem(deviceProblem(error));
    else byId("here-note").textContent = deviceProblem(error);
  } finally {
    byId("run-here").disabled = false;
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
  if (photo.blob === blob) showOnStage(image.naturalWidth ? "photo" : "nothing");
}

/** The frame takes the picture's shape, and the square that the network sees is outlined on it. */
function frameFor(width, height) {
  byId("frame").style.setProperty("--ratio", width / height);
  const { mode, crop_fraction: fraction } = facts.input;
  const crop = byId("crop");
  crop.hidden = mode !== "center_crop";
  const side = Math.min(width, height) * fraction;
  crop.style.width = `${(100 * side) / width}%`;
  crop.style.height = `${(100 * side) / height}%`;
  crop.style.left = `${(50 * (width - side)) / width}%`;
  crop.style.top = `${(50 * (height - side)) / height}%`;
}

function resetLook(alone) {
  const look = byId("look");
  look.value = 0;
  look.disabled = alone || !facts.explains;
  byId("map").hidden = true;
  byId("map").removeAttribute("src");
  byId("looked").textContent = "";
}

/** Blends the map over the photo; it is drawn when it is first asked for. */
async function blend() {
  const mine = turn, map = byId("map"), look = byId("look");
  map.style.opacity = look.value / 100;
  map.hidden = !map.src || look.value === "0";
  byId("crop").classList.toggle("quiet", look.value !== "0");
  if (map.src || photo.map || look.value === "0") return;
  const asked = photo;
  asked.map = true;
  byId("looked").textContent = "Drawing ...";
  try {
    const [picture, label] = await call("explain", [await photo.reference], full);
    if (mine !== turn) return;
    map.src = here(`gradio_api/file=${picture.path}`);
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
  byId("examples").replaceChildren(...list.map(({ file, caption, what }) => {
    const image = create("img", { src: here(`examples/${encodeURIComponent(file)}`), alt: what === caption ? "" : what, loading: "lazy" });
    const button = create("button", { type: "button", "data-file": file }, image, create("span", {}, caption));
    button.addEventListener("click", () => tryExample(file));
    return create("li", {}, button);
  }));
  byId("credits").replaceChildren(...credits(list));
  return list;
}

function credits(list) {
  const links = list.filter(({ url }) => url).map(({ url, credit }) => {
    const link = create("a", { target: "_blank", rel: "noopener" }, credit.split(",")[0]);
    if (/^https?:/.test(url)) link.href = url;
    return link;
  });
  return links.length ? ["Photos, CC BY 2.0: ", ...links.flatMap((link) => [link, ", "]).slice(0, -1), "."] : [];
}

let wantedExample = null; // the one clicked last; null once a photo or the camera was chosen instead

async function tryExample(file) {
  wantedExample = file;
  try {
    const blob = await example(file);
    if (wantedExample !== file) return;
    press(file);
    await take(blob);
  } catch (error) {
    if (wantedExample === file) byId("missing").textContent = sentence(error); // what was shown before stays
  }
}

async function example(file) {
  const response = await reach(`examples/${encodeURIComponent(file)}`);
  if (!response.ok) throw new Told("The server has no such example any more. Reload the page.");
  return new File([await response.blob()], file);
}

/** Marks the example that is shown; null for none of them. */
function press(file) {
  byId("missing").textContent = "";
  for (const button of document.querySelectorAll("#examples button")) {
    button.setAttribute("aria-pressed", String(button.dataset.file === file));
  }
}

const fromVisitor = (file) => {
  wantedExample = null;
  press(null);
  take(file);
};

/** Back from the camera to the photo before it, also while the browser still asks for permission. */
function endLive() {
  newTurn();
  stopLive();
  say("");
  if (photo) take(photo.blob, !photo.reference);
}

async function startOne() {
  facts ??= await (await reach("bundle/page.json")).json();
  drawFormats();
  document.querySelector(".look").hidden = !facts.explains;
  clearAnswer();
  connectOne();
  const list = await showExamples();
  if (list.length && !turn) await tryExample(list[0].file);
}

function connectOne() {
  byId("photo").addEventListener("change", ({ target }) => {
    if (target.files[0]) fromVisitor(target.files[0]);
    target.value = "";
  });
  byId("live").addEventListener("click", () => {
    if (camera) endLive();
    else startLive();
  });
  // The camera stops when another tab is shown.
  new IntersectionObserver(([{ target }]) => {
    if (!target.offsetParent && (camera || byId("live").disabled)) endLive();
  }).observe(byId("one"));
  byId("compare").addEventListener("click", () => compareAll());
  byId("run-here")?.addEventListener("click", () => { if (photo && !camera) runHere(!photo.reference); });
  byId("here-format")?.addEventListener("change", () => {
    if (!camera && photo && rows.get("here").wanted) runHere(!photo.reference);
  });
  byId("look").addEventListener("input", blend);
  const stage = byId("stage");
  stage.addEventListener("dragover", (event) => event.preventDefault());
  stage.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files[0]) fromVisitor(event.dataTransfer.files[0]);
  });
  document.addEventListener("paste", ({ clipboardData }) => {
    const file = [...(clipboardData?.files ?? [])].find(({ type }) => type.startsWith("image/"));
    if (file && byId("one").offsetParent) fromVisitor(file);
  });
}

async function compareAll() {
  if (!photo?.reference) return;
  try {
    await compare(facts.formats.map(({ name }) => name));
  } catch (error) {
    byId("speed").textContent = sentence(error);
    say("");
  }
}
