// What comes of teaching: how good it is, the files, and the link.

import qrcode from "../device/qrcode.js";
import { graft, isWritable } from "../device/graft.js";
import { zipped } from "../device/archive.js";
import { digestOf, ranked } from "../device/engine.js";
import { byId, bytesOf, create, here, megabytes, save } from "./base.js";
import { probabilities } from "./learn.js";
import { judged, lesson, model } from "./lesson.js";
import { LINK, packHead, toText } from "./link.js";
import { guard, say, withTrunk } from "./trunk.js";

const CONTENT = `
  <h2 id="taught-title"></h2>
  <ul id="taught-how"></ul>
  <ul id="mistaken" class="shots" aria-label="Photos that it gets wrong"></ul>
  <div class="tools"><button id="copy-link" class="big primary" type="button">Copy the link</button>
    <button id="taught-file" class="big" type="button">Download</button>
    <label class="field">as <select id="taught-format"></select></label></div>
  <p class="soft" id="link-note"></p>
  <details id="code"><summary>QR code</summary><canvas role="img" aria-label="QR code of the link"></canvas><p></p></details>
`;
const TITLES = { dynamic_int8: "small (int8 weights)", float32: "float32", float16: "float16", int8_weights: "int8 weights", int8: "int8" };
const ALL = "all formats (zip)";
const CANDIDATES = 32, CHOSEN = 3, TOP = 10, TOLERANCE = 0.02; // of golden pictures: mobilevit_core/bundle/golden.py
const QUIET_ZONE = 4, MODULE = 4; // of the QR code: modules around it, pixels of one

let trunk = null; // its manifest: weights_sha256 says what everything here belongs to

export function startTaught() {
  byId("taught").innerHTML = CONTENT;
  byId("copy-link").addEventListener("click", guard(copyLink));
  byId("taught-file").addEventListener("click", guard(download));
  byId("code").addEventListener("toggle", drawCode);
}

/** Brings everything up to date with what answers now. */
export async function drawTaught() {
  byId("taught").hidden = !model();
  if (!model()) return;
  trunk ??= await withTrunk((engine) => engine.manifest());
  const answering = model(), ownPhotos = answering?.features.length > 0;
  if (!answering) return; // it was forgotten meanwhile
  byId("taught-title").textContent = ownPhotos ? "What it learned" : "What came by the link";
  drawVerdicts(ownPhotos ? judged : []);
  drawFormats(ownPhotos);
  byId("link-note").textContent = `The link holds the names and ${packHead(answering, trunk.weights_sha256).length.toLocaleString("en")} bytes of numbers, no photos. The part after # is sent to no server.`;
  drawCode();
}

/** The formats that can be written: int8 takes its scales from photos, which no link holds. */
const writable = (ownPhotos) => Object.keys(TITLES).filter((name) => trunk.files[name] && isWritable(name) && (ownPhotos || name !== "int8"));

function drawFormats(ownPhotos) {
  const list = byId("taught-format"), names = writable(ownPhotos), chosen = list.value;
  if (list.options.length === names.length + 1) return;
  const size = (all) => `${megabytes(all.reduce((sum, name) => sum + trunk.files[name].bytes, 0))} MB`;
  const option = (value, text, attributes = {}) => create("option", { value, ...attributes }, text);
  list.replaceChildren(...names.map((name) => option(name, `${TITLES[name]}, ${size([name])}`)), option(ALL, `${ALL}, ${size(names)}`, { disabled: !crypto.subtle }));
  if (names.includes(chosen)) list.value = chosen;
}

function drawVerdicts(verdicts) {
  const line = ({ name, right, of, luck }) => create("li", {}, create("b", {}, name), `: right on ${right} of ${of} photos that it had not seen${luck ? "; no better than guessing yet, add photos" : ""}`);
  const untested = create("li", {}, "With two photos or more of each thing, it is tested on photos that it has not seen.");
  byId("taught-how").replaceChildren(...(verdicts ? verdicts.map(line) : [untested]));
  byId("mistaken").replaceChildren(...(verdicts ?? []).flatMap(({ name, wrong }) => wrong.map(({ photo, said }) => {
    const picture = create("canvas", { width: photo.picture.width, height: photo.picture.height, role: "img", "aria-label": `${name}, taken for ${said}` });
    picture.getContext("2d").drawImage(photo.picture, 0, 0);
    return create("li", {}, picture, create("small", {}, `${name}: “${said}”`));
  })));
}

const address = (digits) => `${here("./").href}${LINK}${toText(packHead(model(), trunk.weights_sha256), digits)}`;

async function copyLink() {
  const link = address(false);
  try {
    await navigator.clipboard.writeText(link);
    say("The link is copied.");
  } catch {
    history.replaceState(null, "", link);
    say("The link stands in the address bar now: copy it from there.");
  }
}

/** The link as a QR code, its numbers as digits, of which such a code holds most. */
function drawCode() {
  if (!byId("code").open || !model()) return;
  const [, canvas, note] = byId("code").children, code = qrcode(0, "L"), link = address(true), digits = link.indexOf(LINK) + LINK.length + 1;
  code.addData(link.slice(0, digits), "Byte");
  code.addData(link.slice(digits), "Numeric");
  try {
    code.make();
  } catch {
    canvas.hidden = true;
    note.textContent = `${model().names.length} classes are too many for a QR code. Pass on the link.`;
    return;
  }
  canvas.hidden = false;
  note.textContent = "Point another phone's camera at it.";
  drawModules(canvas, code);
}

function drawModules(canvas, code) {
  const count = code.getModuleCount(), pen = canvas.getContext("2d");
  canvas.width = canvas.height = (count + 2 * QUIET_ZONE) * MODULE;
  pen.fillStyle = "white";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.fillStyle = "black";
  for (let row = 0; row < count; row++) {
    for (let column = 0; column < count; column++) if (code.isDark(row, column)) pen.fillRect((column + QUIET_ZONE) * MODULE, (row + QUIET_ZONE) * MODULE, MODULE, MODULE);
  }
}

async function download() {
  const format = byId("taught-format").value;
  say("Writing the file ...");
  if (format === ALL) save(await taughtZip(), "taught.zip");
  else save(await taughtFile(format), `taught_${format}.tflite`);
  say(format === ALL ? "The file is saved. Unpacked, its folder is a bundle." : "The file is saved. It has its labels inside.");
}

/** A .tflite file of what answers now, as mobilevit_core/bundle/tflite_metadata.py makes them. */
export const taughtFile = (format) => withTrunk(async (engine) => {
  const answering = model();
  return (await written(engine, answering, format, await tellingSeeds(engine, answering))).file;
});

/** All formats as a bundle: mobilevit_core/bundle/bundle.py. */
export const taughtZip = () => withTrunk(async (engine) => {
  const answering = model(), { made, start } = await engine.manifest(), seeds = await tellingSeeds(engine, answering);
  const files = {}, members = {}, golden = { drawing: "discs", seeds, tolerance: TOLERANCE, scores: {} };
  for (const format of writable(answering.features.length > 0)) {
    const { file, scores } = await written(engine, answering, format, seeds), name = `model_${format}.tflite`;
    const content = new Uint8Array(await file.arrayBuffer());
    golden.scores[format] = scores;
    members[`taught/${name}`] = content;
    files[format] = { file: name, sha256: await digestOf(content), bytes: content.length };
  }
  const manifest = {
    ...made, ...described(answering), files, recipe: { name: "head", split_scheme: "whole", seed: 0 }, start,
    golden, ...(answering.other === null ? {} : { other_class: answering.names[answering.other] }),
  };
  return zipped({ "taught/bundle.json": JSON.stringify(manifest, null, 1), "taught/labels.txt": answering.names.join("\n"), ...members });
});

const described = ({ names, rejection }) => ({
  class_names: names,
  rejection: rejection?.photos ? { score: "highest probability", ...rejection } : null, // a link has only the threshold
  data: { name: "photos in a browser", split_scheme: "whole", photos: { train: photoCount() }, digest: "" },
});

const photoCount = () => [...lesson.classes, lesson.none].reduce((sum, { photos }) => sum + photos.length, 0);

/** One format's file, and its answers to the drawn pictures. */
async function written(engine, answering, format, seeds) {
  const { made, metadata } = await engine.manifest();
  const network = graft(await engine.content(format), format, answering, bytesOf(metadata));
  const scores = (await engine.answersTo(network, seeds)).map((values) => topOf(values, answering.names));
  const golden = { drawing: "discs", seeds, tolerance: TOLERANCE, scores: { [format]: scores } };
  const manifest = JSON.stringify({ ...made, format, ...described(answering), golden }, null, 1);
  return { file: zipped({ "labels.txt": answering.names.join("\n"), "manifest.json": manifest }, network), scores };
}

const topOf = (values, names) => Object.fromEntries(ranked(values).slice(0, TOP).map((index) => [names[index], Number(values[index].toFixed(6))]));

/** Drawn pictures whose answers are undecided, of different classes: those give away an engine that is off. */
async function tellingSeeds(engine, answering) {
  const rows = [];
  for (let seed = 0; seed < CANDIDATES; seed++) {
    const values = probabilities(answering, await engine.ofDrawn(seed)), score = Math.max(...values);
    rows.push({ seed, score, label: values.indexOf(score) });
  }
  rows.sort((a, b) => a.score - b.score);
  const first = rows.filter(({ label }, place) => rows.findIndex((row) => row.label === label) === place);
  return [...first, ...rows.filter((row) => !first.includes(row))].slice(0, CHOSEN).map(({ seed }) => seed).sort((a, b) => a - b);
}
