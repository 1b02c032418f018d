// Runs the bundle's .tflite file in the visitor's browser with LiteRT.js. The photo is read, resized and
// classified here and goes nowhere.
//
// Neither engine is taken on trust. WebAssembly has to give the golden answers that the bundle was made with,
// where it has some. On some GPUs only WebGPU's first run is right: it is used where it gives what WebAssembly
// gives, every time, and is faster.

import { drawOnGround } from "./ground.js";
import { photoToTensor } from "./resize.js";

const LITERT = "2.5.3"; // as in package.json; a cache keeps each version's WebAssembly by it
const RUNS = 20, WARMUP = 3, TOP = 5;
const TOLERANCE = 0.02; // of any probability, between WebGPU (16 bits on some GPUs) and WebAssembly
const SEEDS = [0, 1, 2], REPEATS = 5; // drawn inputs without golden ones, and runs of each, before WebGPU is used
const RECHECK = 30; // camera pictures between two checks
const SOFTWARE = /swiftshader|llvmpipe|lavapipe|software|basic render/i;
/** Places of values, the highest first. */
export const ranked = (values) => [...values.keys()].sort((a, b) => values[b] - values[a]);

/** Whether these probabilities mean "none of these"; RejectionRule.rejects in the browser. */
export function rejects(values, rule) {
  if (!rule) return false;
  const score = Math.max(...values.filter((_, index) => index !== rule.other));
  return score < rule.threshold || ranked(values)[0] === rule.other;
}

/** Probabilities in the form of the API's answer. */
export function answerOf(values, names, rule) {
  const predictions = ranked(values).slice(0, TOP).map((index) => ({ label: names[index], score: values[index] }));
  const scores = Object.fromEntries(names.map((name, index) => [name, values[index]]));
  return { ...predictions[0], unknown: rejects(values, rule), predictions, scores };
}

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

/** What is loaded of several files, told as one: `progress(bytes so far, bytes in all)`. */
class Progress {
  constructor(tell) {
    this.tell = tell;
    this.done = this.total = 0;
  }

  /** The body of a file, counted as it comes. */
  async read(url, expected = 0) {
    const response = await get(url);
    this.total += Number(response.headers.get("content-length")) || expected;
    const parts = [], reader = response.body.getReader();
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      parts.push(part.value);
      this.done += part.value.length;
      this.tell?.(this.done, Math.max(this.done, this.total));
    }
    return new Blob(parts);
  }
}

/** SHA-256, hexadecimal; a browser computes it on pages with https and on this machine. */
export async function digestOf(content) {
  if (!crypto.subtle) return null;
  return Array.from(new Uint8Array(await crypto.subtle.digest("SHA-256", content)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const WASM = new URL("litert/core/wasm/", import.meta.url);
let runtime = null; // promise of LiteRT.js; one for all engines of the page

/** Loads LiteRT.js once; after a failure, the next call tries again. */
function loadRuntime(progress) {
  runtime ??= fetchRuntime(progress).catch((error) => {
    runtime = null;
    throw error;
  });
  return runtime;
}

async function fetchRuntime(progress) {
  if (typeof WebAssembly !== "object") throw new Error("this browser has no WebAssembly");
  const module = await import("./litert/core/dist/index.js").catch(() => {
    throw Object.assign(new Error("LiteRT.js can't be reached"), { network: true });
  });
  const name = (await module.supportsFeature("relaxedSimd")) ? "litert_wasm_internal" : "litert_wasm_compat_internal";
  const packed = await progress.read(new URL(`${name}.wasm.gz?v=${LITERT}`, WASM));
  const unpacked = packed.stream().pipeThrough(new DecompressionStream("gzip"));
  self.Module = { wasmBinary: await new Response(unpacked).arrayBuffer() }; // the loader takes it from there
  await module.loadLiteRt(WASM.href);
  return module;
}

/** An engine for the bundle at an address of this server. Load a format, then ask. */
export class Engine {
  format = null; // that is loaded
  engine = ""; // what runs it, and how that was checked
  #bundle;
  #manifest = null;
  #litert = null;
  #content = null;
  #frames = 0;
  #wasm = null; // compiled models; #gpu is null unless it passed
  #gpu = null;
  #loading = Promise.resolve();

  /** @param {URL} bundle ends with a slash. */
  constructor(bundle) {
    if (bundle.origin !== location.origin) throw new Error("a bundle of another server is not opened");
    this.#bundle = bundle;
  }

  /** Makes a weight format ready; calls come one after the other, and the last one counts. */
  load(format, tell) {
    const ready = () => this.format === format && this.#wasm;
    this.#loading = this.#loading.catch(() => {}).then(() => (ready() ? undefined : this.#load(format, new Progress(tell))));
    return this.#loading;
  }

  /** What `bundle.json` says. */
  async manifest() {
    return (this.#manifest ??= await (await get(new URL("bundle.json", this.#bundle))).json());
  }

  /** The content of a weight format's file. */
  async content(format, tell) {
    return format === this.format ? this.#content : this.#read(format, new Progress(tell));
  }

  async #read(format, progress) {
    const { file, bytes, sha256 } = (await this.manifest()).files[format];
    const url = new URL(file, this.#bundle);
    if (sha256) url.searchParams.set("sha256", sha256.slice(0, 12)); // so that a cache never gives older weights
    const content = new Uint8Array(await (await progress.read(url, bytes)).arrayBuffer());
    if (!sha256 || ((await digestOf(content)) ?? sha256) === sha256) return content;
    await globalThis.caches?.open("page").then((cache) => cache.delete(url)); // of sw.js, which would give it again
    throw new Error(`${file} arrived damaged: its checksum is another one; reload the page`);
  }

  async #load(format, progress) {
    this.format = null;
    [this.#litert, this.#content] = await Promise.all([loadRuntime(progress), this.#read(format, progress)]);
    const litert = this.#litert;
    this.#drop();
    this.#wasm = await litert.loadAndCompile(this.#content, { accelerator: "wasm" });
    await this.#checkWasm(this.#golden(format));
    await this.#tryGpu(this.#golden(format));
    this.format = format;
  }

  #drop() {
    this.#wasm?.delete();
    this.#gpu?.delete();
    this.#wasm = this.#gpu = null;
  }

  /** The drawn inputs to check with: their seeds, and the format's answers to them where the bundle has them. */
  #golden(format) {
    const { golden } = this.#manifest, answers = golden?.scores[format];
    return answers ? golden.seeds.map((seed, place) => ({ seed, answer: answers[place] })) : SEEDS.map((seed) => ({ seed }));
  }

  /** How far probabilities are from a golden answer; NaN stays NaN. */
  #apart(values, answer) {
    const places = this.#manifest.class_names;
    return answer && Math.max(...Object.entries(answer).map(([name, share]) => Math.abs(values[places.indexOf(name)] - share)));
  }

  /** Runs every input once; without golden answers, that it runs is all that is known. */
  async #checkWasm(inputs) {
    for (const { seed, answer } of inputs) {
      const off = this.#apart(await this.#run(this.#wasm, this.drawn(seed)), answer);
      if (!answer || off <= this.#manifest.golden.tolerance) continue;
      this.#drop();
      throw new Error(`its WebAssembly gives wrong answers to the file's test pictures, off by ${off.toFixed(2)}`);
    }
    this.engine = inputs[0].answer ? "WebAssembly, checked with the file's test pictures" : "WebAssembly";
  }

  /** Takes WebGPU where it is real, agrees with WebAssembly and the golden answers each time, and is faster. */
  async #tryGpu(inputs) {
    const adapter = navigator.gpu && (await navigator.gpu.requestAdapter().catch(() => null));
    if (!adapter) return;
    const { vendor = "", architecture = "", description = "", isFallbackAdapter = false } = adapter.info ?? {};
    if (isFallbackAdapter || adapter.isFallbackAdapter || SOFTWARE.test(`${vendor} ${architecture} ${description}`)) {
      this.engine = "WebAssembly (this browser's WebGPU is emulated in software)";
      return;
    }
    try {
      this.#gpu = await this.#litert.loadAndCompile(this.#content, { accelerator: "webgpu" });
      if (!(await this.#agrees(inputs))) this.#refuse();
      else if ((await this.#speed(this.#gpu)) >= (await this.#speed(this.#wasm))) {
        this.#gpu.delete();
        this.#gpu = null;
        this.engine = "WebAssembly (faster here than WebGPU)";
      } else this.engine = `WebGPU, checked against WebAssembly${inputs[0].answer ? " and the file's test pictures" : ""}`;
    } catch {
      this.#gpu = null; // it can't run this file
      this.engine = "WebAssembly (WebGPU can't run this file)";
    }
  }

  #refuse() {
    this.#gpu?.delete();
    this.#gpu = null;
    this.engine = "WebAssembly (this browser's WebGPU gave other results)";
  }

  async #agrees(inputs) {
    for (const { seed, answer } of inputs) {
      const pixels = this.drawn(seed), expected = await this.#run(this.#wasm, pixels);
      for (let repeat = 0; repeat < REPEATS; repeat++) {
        const values = await this.#run(this.#gpu, pixels);
        if (!close(values, expected) || (answer && !(this.#apart(values, answer) <= this.#manifest.golden.tolerance))) return false;
      }
    }
    return true;
  }

  async #speed(model) {
    const { times } = await this.#timed(model, this.drawn(0), 5);
    return quantile(times, 0.5);
  }

  /** A drawn input: discs on a ground, the same on every device; mobilevit_core/bundle/golden.py in JavaScript. */
  drawn(seed) {
    const size = this.#manifest.input.image_size, pixels = new Float32Array(size * size * 3), numbers = [];
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

  /** One run: the values of the network's output. */
  async #run(model, pixels) {
    const size = this.#manifest.input.image_size;
    const input = new this.#litert.Tensor(pixels, [1, size, size, 3]);
    const outputs = await model.run([input]);
    const output = await outputs[0].moveTo("wasm");
    const values = Float32Array.from(output.toTypedArray());
    output.delete();
    input.delete();
    return values;
  }

  /** What another file with the same input says about drawn inputs, by WebAssembly. */
  async answersTo(content, seeds) {
    const model = await this.#litert.loadAndCompile(content, { accelerator: "wasm" }), answers = [];
    try {
      for (const seed of seeds) answers.push(await this.#run(model, this.drawn(seed)));
    } finally {
      model.delete();
    }
    return answers;
  }

  /** The output for a drawn input. */
  async ofDrawn(seed) {
    return this.#run(this.#wasm, this.drawn(seed));
  }

  async #timed(model, pixels, runs) {
    for (let number = 0; number < WARMUP; number++) await this.#run(model, pixels);
    const times = [];
    let values;
    for (let number = 0; number < runs; number++) {
      const begin = performance.now();
      values = await this.#run(model, pixels);
      times.push(performance.now() - begin);
    }
    return { values, times };
  }

  /** `#timed` with the engine in use; WebGPU's last run is checked, and WebAssembly takes over if it is off. */
  async #measured(pixels, runs) {
    const result = await this.#timed(this.#gpu ?? this.#wasm, pixels, runs);
    if (!this.#gpu || close(result.values, await this.#run(this.#wasm, pixels))) return result;
    this.#refuse();
    return this.#timed(this.#wasm, pixels, runs);
  }

  /** The network's answer in the form of the API's. */
  answerOf(values, more = {}) {
    const { class_names: names, rejection } = this.#manifest;
    return { ...answerOf(values, names, rejection), format: this.format, size_bytes: this.#content.length, ...more };
  }

  /** Classifies one photo, and times it. */
  async answer(blob) {
    const { values, times } = await this.#measured(await this.#tensorOf(blob), RUNS);
    const latency_ms = { p50: quantile(times, 0.5), p95: quantile(times, 0.95), p50_range: medianRange(times), runs: RUNS };
    return this.answerOf(values, { latency_ms });
  }

  /** Classifies one photo, untimed. */
  async classify(blob) {
    return this.answerOf(await this.values(blob));
  }

  /** The output for one photo, untimed: probabilities, or features where the file gives those. */
  async values(blob) {
    return this.#run(this.#gpu ?? this.#wasm, await this.#tensorOf(blob));
  }

  /** The output for what a video shows right now. */
  async frame(video) {
    const pixels = photoToTensor(pixelsOf(video, video.videoWidth, video.videoHeight, drawOpaque), this.#manifest.input);
    const values = await this.#run(this.#gpu ?? this.#wasm, pixels);
    if (!this.#gpu || this.#frames++ % RECHECK) return values;
    const expected = await this.#run(this.#wasm, pixels);
    if (close(values, expected)) return values;
    this.#refuse();
    return expected;
  }

  async #tensorOf(blob) {
    return photoToTensor(await decode(blob), this.#manifest.input);
  }
}

const close = (one, other) => one.every((value, index) => Math.abs(value - other[index]) <= TOLERANCE);

async function decode(blob) {
  // The pixels as they are stored, without the screen's colours, turned upright by EXIF.
  const options = { colorSpaceConversion: "none", imageOrientation: "from-image" };
  const bitmap = await createImageBitmap(blob, options).catch((error) => {
    throw Object.assign(new Error(error.message), { photo: true });
  });
  return pixelsOf(bitmap, bitmap.width, bitmap.height);
}

const drawOpaque = (context, video) => context.drawImage(video, 0, 0);

function pixelsOf(source, width, height, draw = drawOnGround) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  draw(context, source);
  return context.getImageData(0, 0, width, height);
}
