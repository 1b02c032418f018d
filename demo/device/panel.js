// Runs the bundle's .tflite file in the visitor's browser with LiteRT.js: WebGPU where there is one, else
// WebAssembly. The photograph is read, resized and classified here and goes nowhere.

const RUNS = 20, WARMUP = 3, TOP = 5, LIVE_WINDOW = 20;
const CDN = "https://cdn.jsdelivr.net/npm/";
const bundle = new URL(new URLSearchParams(location.search).get("bundle") + "/", location.href);

const state = { manifest: null, litert: null, model: null, accelerator: "", source: "", photo: null, busy: false };
const element = (id) => document.getElementById(id);
const say = (text) => { element("status").textContent = text; };
const percent = (value) => `${(value * 100).toFixed(1)} %`;
const quantile = (values, share) => {
  const sorted = [...values].sort((a, b) => a - b);
  const place = (sorted.length - 1) * share, low = Math.floor(place);
  return sorted[low] + (sorted[Math.min(low + 1, sorted.length - 1)] - sorted[low]) * (place - low);
};

async function getJson(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url.pathname.split("/").pop()} is not there (${response.status})`);
  return response.json();
}

/** Where LiteRT.js comes from: beside this page if `npm ci` was run, else the same version from a CDN. */
async function packages() {
  const wanted = (await getJson(new URL("package.json", location.href))).dependencies;
  const local = new URL("node_modules/", location.href);
  const probe = await fetch(new URL("@litertjs/core/package.json", local)).catch(() => null);
  const url = (name) => (probe?.ok ? `${local}${name}/` : `${CDN}${name}@${wanted[name]}/`);
  state.source = probe?.ok ? "LiteRT.js from this server" : `LiteRT.js ${wanted["@litertjs/core"]} from cdn.jsdelivr.net`;
  return { core: url("@litertjs/core"), utils: url("@litertjs/wasm-utils") };
}

async function loadRuntime() {
  if (typeof WebAssembly !== "object") throw new Error("this browser has no WebAssembly");
  const { core, utils } = await packages();
  const map = document.createElement("script");
  map.type = "importmap";
  map.textContent = JSON.stringify({ imports: { "@litertjs/wasm-utils": `${utils}dist/index.js` } });
  document.head.append(map);
  const litert = await import(`${core}dist/index.js`);
  await litert.loadLiteRt(`${core}wasm/`);
  return litert;
}

async function loadModel() {
  state.manifest ??= await getJson(new URL("bundle.json", bundle));
  state.litert ??= await loadRuntime();
  const format = element("format").value;
  const file = state.manifest.files?.[format].file ?? state.manifest.formats[format]; // version 1: formats
  const response = await fetch(new URL(file, bundle));
  if (!response.ok) throw new Error(`${file} is not there (${response.status})`);
  const content = new Uint8Array(await response.arrayBuffer());
  state.model?.delete();
  state.model = null;
  const accelerators = navigator.gpu && (await navigator.gpu.requestAdapter().catch(() => null)) ? ["webgpu", "wasm"] : ["wasm"];
  for (const accelerator of accelerators) {
    try {
      state.model = await state.litert.loadAndCompile(content, { accelerator });
      state.accelerator = accelerator === "webgpu" ? "WebGPU" : "WebAssembly";
      await classify(new Float32Array(state.manifest.input.image_size ** 2 * 3)); // does it run?
      return;
    } catch (error) {
      if (accelerator === accelerators.at(-1)) throw error;
    }
  }
}

/** One run: probabilities of all classes. */
async function classify(pixels) {
  const size = state.manifest.input.image_size;
  const input = new state.litert.Tensor(pixels, [1, size, size, 3]);
  const outputs = await state.model.run([input]);
  const output = await outputs[0].moveTo("wasm");
  const probabilities = Float32Array.from(output.toTypedArray());
  output.delete();
  input.delete();
  return probabilities;
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

function show(probabilities) {
  const names = state.manifest.class_names;
  const order = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a]).slice(0, TOP);
  const best = probabilities[order[0]];
  const rule = state.manifest.rejection ?? state.manifest.unknown; // version 1: unknown
  const none = rule && best < rule.threshold;
  element("answer").textContent = (none ? "Probably none of these; best: " : "") + `${names[order[0]]}, ${percent(best)}`;
  element("top").classList.toggle("none", Boolean(none));
  element("top").replaceChildren(...order.map((index) => {
    const row = document.createElement("li");
    row.style.setProperty("--share", probabilities[index]);
    const name = document.createElement("span"), value = document.createElement("span");
    name.textContent = names[index];
    value.textContent = percent(probabilities[index]);
    row.append(name, value);
    return row;
  }));
  return names[order[0]];
}

/** Classifies one photograph: what the page shows and what the tests read. */
async function answer(blob) {
  const start = performance.now();
  const pixels = photoToTensor(await decode(blob), state.manifest.input);
  const preparing = performance.now() - start;
  for (let run = 0; run < WARMUP; run++) await classify(pixels);
  const times = [];
  let probabilities;
  for (let run = 0; run < RUNS; run++) {
    const begin = performance.now();
    probabilities = await classify(pixels);
    times.push(performance.now() - begin);
  }
  return { probabilities: [...probabilities], median: quantile(times, 0.5), p95: quantile(times, 0.95), preparing };
}

/** Nothing stands beside a photograph that it is not about. */
function clear() {
  element("answer").textContent = element("figures").textContent = "";
  element("top").replaceChildren();
}

/** One thing at a time; a failure becomes a sentence. */
async function work(task) {
  if (state.busy) return;
  state.busy = true;
  element("run").disabled = true;
  try {
    await task();
  } catch (error) {
    clear();
    const reason = String(error.message || error).replace(/\.$/, "");
    const what = error.photo ? "This browser can't read the photograph" : "This device can't run it";
    say(`${what}: ${reason}. The server's answers do not depend on it.`);
  } finally {
    state.busy = false;
    element("run").disabled = false;
  }
}

async function run() {
  if (!state.model) {
    say("Loading LiteRT.js and the weights, some 13 MB the first time ...");
    await loadModel();
  }
  if (!state.photo) return say("Ready. Give the page a photograph, or choose one for this device alone.");
  say("Measuring ...");
  const { probabilities, median, p95, preparing } = await answer(state.photo);
  show(probabilities);
  element("figures").textContent = `${median.toFixed(1)} ms median, ${p95.toFixed(1)} ms p95 of ${RUNS} runs`;
  say(`${state.accelerator}, ${state.source}. Reading and resizing took ${preparing.toFixed(0)} ms. ` +
    "For this the photograph did not leave the device.");
}

let camera = null;

async function live() {
  if (camera) return stopLive();
  if (!navigator.mediaDevices?.getUserMedia) throw new Error("it gives pages no camera (https is needed)");
  if (!state.model) {
    say("Loading LiteRT.js and the weights ...");
    await loadModel();
  }
  camera = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  const video = element("video");
  video.srcObject = camera;
  video.hidden = false;
  await video.play();
  element("live").textContent = "Stop the camera";
  say(`${state.accelerator}, ${state.source}. The camera's picture does not leave the device.`);
  frames(video);
}

function stopLive() {
  camera?.getTracks().forEach((track) => track.stop());
  camera = null;
  element("video").hidden = true;
  element("live").textContent = "Live camera";
}

async function frames(video) {
  const times = [];
  let last = performance.now();
  while (camera) {
    const pixels = photoToTensor(pixelsOf(video, video.videoWidth, video.videoHeight), state.manifest.input);
    show(await classify(pixels));
    await new Promise(requestAnimationFrame);
    times.push(performance.now() - last);
    last = performance.now();
    const median = quantile(times.slice(-LIVE_WINDOW), 0.5);
    element("figures").textContent = `${(1000 / median).toFixed(1)} pictures a second`;
  }
}

function take(photo) {
  state.photo = photo;
  if (!camera) clear();
  if (state.model && !camera) work(run);
}

element("run").addEventListener("click", () => work(run));
element("live").addEventListener("click", () => work(live));
element("format").addEventListener("change", () => {
  state.model?.delete();
  state.model = null;
  if (state.litert && !camera) work(run);
});
element("own").addEventListener("change", (event) => {
  if (event.target.files[0]) {
    state.photo = event.target.files[0];
    work(run);
  }
});
window.addEventListener("message", async (event) => {
  if (event.origin !== location.origin) return;
  if ("dark" in event.data) document.documentElement.classList.toggle("dark", event.data.dark);
  if ("photo" in event.data) {
    const response = event.data.photo && (await fetch(event.data.photo).catch(() => null));
    take(response?.ok ? await response.blob() : null);
  }
});
window.device = { answer, loadModel, state };
if (parent !== window) {
  parent.postMessage({ device: "ready" }, location.origin);
  new ResizeObserver(() => {
    parent.postMessage({ device: "height", height: document.body.scrollHeight + 8 }, location.origin);
  }).observe(document.body);
}
