// Runs the bundle's .tflite file in the visitor's browser with LiteRT.js. The photo is read, resized and
// classified here and goes nowhere.
//
// Neither engine is taken on trust. WebAssembly has to give the golden answers that the bundle was made with,
// where it has some. On some GPUs only WebGPU's first run is right: it is used where it gives what WebAssembly
// gives, every time, and is faster.

const RUNS = 20, WARMUP = 3, TOP = 5;
const TOLERANCE = 0.02; // of any probability, between WebGPU (16 bits on some GPUs) and WebAssembly
const SEEDS = [0, 1, 2], REPEATS = 5; // drawn inputs without golden ones, and runs of each, before WebGPU is used
const RECHECK = 30; // camera pictures between two checks
const CDN = "https://cdn.jsdelivr.net/npm/";
const SOFTWARE = /swiftshader|llvmpipe|lavapipe|software|basic render/i;
// Another bundle of this server where the address names one: ?bundle=../taught/NAME/
const bundle = new URL(new URLSearchParams(location.search).get("bundle") ?? "../bundle/", location.href);
if (bundle.origin !== location.origin) throw new Error("a bundle of another server is not opened");

let manifest = null, litert = null, content = null, size_bytes = 0, frames = 0;
let wasm = null, gpu = null; // compiled models; `gpu` is null unless it passed
const device = { format: null, engine: "", source: "", load, answer, classify, frame, probabilities };
window.device = device;

const quantile = (values, share) => {
  const sorted = [...values].sort((a, b) => a - b);
  const place = (sorted.length - 1) * share, low = Math.floor(place);
  return sorted[low] + (sorted[Math.min(low + 1, sorted.length - 1)] - sorted[low]) * (place - low);
};

/** 95 % interval of the median, by order statistics, as mobilevit_core/inference/latency.py has it. */
function medianRange(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const place = Math.max(Math.trunc((sorted.length - 1.96 * Math.sqrt(sorted.length)) / 2), 0);
  return [sorted[place], sorted[sorted.length - 1 - place]];
}

async function get(url) {
  const unreachable = (why) => Object.assign(new Error(`${url.pathname.split("/").pop()} ${why}`), { network: true });
  const response = await fetch(url).catch(() => { throw unreachable("can't be reached"); });
  if (!response.ok) throw unreachable(`is not there (${response.status})`);
  return response;
}

/** Where LiteRT.js comes from: beside this page if `npm ci` was run, else the same version from a CDN. */
async function packages() {
  const wanted = (await (await get(new URL("package.json", location.href))).json()).dependencies;
  const local = new URL("node_modules/", location.href);
  const probe = await fetch(new URL("@litertjs/core/package.json", local)).catch(() => null);
  const url = (name) => (probe?.ok ? `${local}${name}/` : `${CDN}${name}@${wanted[name]}/`);
  device.source = probe?.ok ? "LiteRT.js from this server" : `LiteRT.js ${wanted["@litertjs/core"]} from cdn.jsdelivr.net`;
  return { core: url("@litertjs/core"), utils: url("@litertjs/wasm-utils") };
}

async function loadRuntime() {
  if (typeof WebAssembly !== "object") throw new Error("this browser has no WebAssembly");
  const { core, utils } = await packages();
  if (!document.querySelector("script[type=importmap]")) {
    const map = document.createElement("script");
    map.type = "importmap";
    map.textContent = JSON.stringify({ imports: { "@litertjs/wasm-utils": `${utils}dist/index.js` } });
    document.head.append(map);
  }
  const module = await import(`${core}dist/index.js`).catch(() => {
    throw Object.assign(new Error("LiteRT.js can't be reached"), { network: true });
  });
  await module.loadLiteRt(`${core}wasm/`);
  return module;
}

let loading = Promise.resolve();

/** Makes a weight format ready; calls come one after the other, and the last one counts. */
function load(format) {
  loading = loading.catch(() => {}).then(() => (device.format === format && wasm ? undefined : loadFormat(format)));
  return loading;
}

async function loadFormat(format) {
  device.format = null;
  manifest ??= await (await get(new URL("bundle.json", bundle))).json();
  litert ??= await loadRuntime();
  const file = manifest.files?.[format]?.file ?? manifest.formats[format]; // version 1: formats
  content = new Uint8Array(await (await get(new URL(file, bundle))).arrayBuffer());
  size_bytes = content.length;
  drop();
  wasm = await litert.loadAndCompile(content, { accelerator: "wasm" });
  await checkWasm(golden(format));
  await tryGpu(golden(format));
  device.format = format;
}

function drop() {
  wasm?.delete();
  gpu?.delete();
  wasm = gpu = null;
}

/** The drawn inputs to check with: their seeds, and the format's answers to them where the bundle has them. */
function golden(format) {
  const answers = manifest.golden?.scores[format];
  return answers ? manifest.golden.seeds.map((seed, place) => ({ seed, answer: answers[place] })) : SEEDS.map((seed) => ({ seed }));
}

/** How far probabilities are from a golden answer; NaN stays NaN. */
const apart = (values, answer) =>
  answer && Math.max(...Object.entries(answer).map(([name, share]) => Math.abs(values[manifest.class_names.indexOf(name)] - share)));

/** Runs every input once; without golden answers, that it runs is all that is known. */
async function checkWasm(inputs) {
  for (const { seed, answer } of inputs) {
    const off = apart(await run(wasm, drawn(seed)), answer);
    if (!answer || off <= manifest.golden.tolerance) continue;
    drop();
    throw new Error(`its WebAssembly gives wrong answers to the file's test pictures, off by ${off.toFixed(2)}`);
  }
  device.engine = inputs[0].answer ? "WebAssembly, checked with the file's test pictures" : "WebAssembly";
}

/** Takes WebGPU where it is real, agrees with WebAssembly and the golden answers each time, and is faster. */
async function tryGpu(inputs) {
  const adapter = navigator.gpu && (await navigator.gpu.requestAdapter().catch(() => null));
  if (!adapter) return;
  const { vendor = "", architecture = "", description = "", isFallbackAdapter = false } = adapter.info ?? {};
  if (isFallbackAdapter || adapter.isFallbackAdapter || SOFTWARE.test(`${vendor} ${architecture} ${description}`)) {
    device.engine = "WebAssembly (this browser's WebGPU is emulated in software)";
    return;
  }
  try {
    gpu = await litert.loadAndCompile(content, { accelerator: "webgpu" });
    if (!(await agrees(inputs))) refuse();
    else if ((await speed(gpu)) >= (await speed(wasm))) {
      gpu.delete();
      gpu = null;
      device.engine = "WebAssembly (faster here than WebGPU)";
    } else device.engine = `WebGPU, checked against WebAssembly${inputs[0].answer ? " and the file's test pictures" : ""}`;
  } catch {
    gpu = null; // it can't run this file
    device.engine = "WebAssembly (WebGPU can't run this file)";
  }
}

function refuse() {
  gpu?.delete();
  gpu = null;
  device.engine = "WebAssembly (this browser's WebGPU gave other results)";
}

async function agrees(inputs) {
  for (const { seed, answer } of inputs) {
    const pixels = drawn(seed), expected = await run(wasm, pixels);
    for (let repeat = 0; repeat < REPEATS; repeat++) {
      const values = await run(gpu, pixels);
      if (!close(values, expected) || (answer && !(apart(values, answer) <= manifest.golden.tolerance))) return false;
    }
  }
  return true;
}

const close = (one, other) => one.every((value, index) => Math.abs(value - other[index]) <= TOLERANCE);

async function speed(model) {
  const { times } = await timed(model, drawn(0), 5);
  return quantile(times, 0.5);
}

/** A drawn input: discs on a ground, the same on every device; mobilevit_core/bundle/golden.py in JavaScript. */
function drawn(seed) {
  const size = manifest.input.image_size, pixels = new Float32Array(size * size * 3), numbers = [];
  for (let count = 0, state = seed + 1; count < 12; count++) {
    state = (state * 75 + 74) % 65537;
    numbers.push(state % 256);
  }
  const [ground, outer, inner] = [0, 3, 6].map((start) => numbers.slice(start, start + 3));
  const [column, row, across] = numbers.slice(9).map((number) => Math.floor((size * (128 + number)) / 512));
  for (let y = 0, at = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const far = (x - column) ** 2 + (y - row) ** 2, texture = 2 * ((x ^ y) % 16);
      const color = 24 * far < across ** 2 ? inner : 4 * far < across ** 2 ? outer : ground;
      for (const value of color) pixels[at++] = (value + texture) % 256;
    }
  }
  return pixels;
}

/** One run: probabilities of all classes. */
async function run(model, pixels) {
  const size = manifest.input.image_size;
  const input = new litert.Tensor(pixels, [1, size, size, 3]);
  const outputs = await model.run([input]);
  const output = await outputs[0].moveTo("wasm");
  const values = Float32Array.from(output.toTypedArray());
  output.delete();
  input.delete();
  return values;
}

async function timed(model, pixels, runs) {
  for (let number = 0; number < WARMUP; number++) await run(model, pixels);
  const times = [];
  let values;
  for (let number = 0; number < runs; number++) {
    const begin = performance.now();
    values = await run(model, pixels);
    times.push(performance.now() - begin);
  }
  return { values, times };
}

/** `timed` with the engine in use; WebGPU's last run is checked, and WebAssembly takes over if it is off. */
async function measured(pixels, runs) {
  const result = await timed(gpu ?? wasm, pixels, runs);
  if (!gpu || close(result.values, await run(wasm, pixels))) return result;
  refuse();
  return timed(wasm, pixels, runs);
}

async function decode(blob) {
  // The pixels as they are stored, without the screen's colours, turned upright by EXIF.
  const options = { colorSpaceConversion: "none", imageOrientation: "from-image" };
  const bitmap = await createImageBitmap(blob, options).catch((error) => {
    throw Object.assign(new Error(error.message), { photo: true });
  });
  return pixelsOf(bitmap, bitmap.width, bitmap.height);
}

function pixelsOf(source, width, height) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(source, 0, 0);
  return context.getImageData(0, 0, width, height);
}

/** Whether these probabilities mean "none of these"; RejectionRule.rejects in the browser. */
function rejects(values) {
  const rule = manifest.rejection ?? manifest.unknown; // version 1: unknown
  if (!rule) return false;
  const other = rule.other ?? -1;
  const score = Math.max(...values.filter((_, index) => index !== other));
  return score < rule.threshold || (other >= 0 && values.indexOf(Math.max(...values)) === other);
}

/** The same form as the API's answer. */
function answerOf(values, more) {
  const names = manifest.class_names;
  const order = [...values.keys()].sort((a, b) => values[b] - values[a]);
  const predictions = order.slice(0, TOP).map((index) => ({ label: names[index], score: values[index] }));
  const scores = Object.fromEntries(names.map((name, index) => [name, values[index]]));
  return { ...predictions[0], unknown: rejects(values), predictions, scores, format: device.format, ...more };
}

const tensorOf = async (blob) => photoToTensor(await decode(blob), manifest.input);

/** Classifies one photo, and times it. */
async function answer(blob) {
  const { values, times } = await measured(await tensorOf(blob), RUNS);
  const latency_ms = { p50: quantile(times, 0.5), p95: quantile(times, 0.95), p50_range: medianRange(times), runs: RUNS };
  return answerOf(values, { latency_ms, size_bytes });
}

/** Classifies one photo, untimed. */
async function classify(blob) {
  return answerOf(Float32Array.from(await probabilities(blob)), { size_bytes });
}

/** Probabilities of one photo, untimed. */
async function probabilities(blob) {
  return [...(await run(gpu ?? wasm, await tensorOf(blob)))];
}

/** Classifies what a video shows right now. */
async function frame(video, width, height) {
  const pixels = photoToTensor(pixelsOf(video, width, height), manifest.input);
  let values = await run(gpu ?? wasm, pixels);
  if (gpu && frames++ % RECHECK === 0) {
    const expected = await run(wasm, pixels);
    if (!close(values, expected)) refuse();
    if (!gpu) values = expected;
  }
  return answerOf(values, { size_bytes });
}
