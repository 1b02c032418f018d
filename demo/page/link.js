// What was taught as a link: names and the last layer in bytes, after the # of the page's address, which no browser
// sends anywhere. Whoever opens one may have it from anybody: nothing in it is trusted.
//
// version, weights (4), flags, threshold, classes; for each class: length and UTF-8 of its name; for each class but
// the last: bias and scale (float32), its weights over 127ths of the scale, both less the last class's; CRC-32 (4).
// Softmax does not change when the same is taken off every output, so the last class needs no numbers.

import { crc32 } from "../device/archive.js";
import { bytesOf, Told } from "./base.js";
import { MOST_CLASSES, NONE } from "./lesson.js";

export const LINK = "#taught=";
const VERSION = 1, LONGEST_NAME = 40, LONGEST = 30_000; // characters; of a name, and of a link
// Control, bidirectional and invisible characters (as in mobilevit_core/data/class_names.py), and markup.
const UNSEEN = /[\p{C}\p{Zl}\p{Zp}\u115f\u1160\u2800\u3164\uffa0<>]/gu, SEEN = /[\p{L}\p{N}\p{P}\p{S}]/u;
const MOST = 65_000; // of a weight, either way: what float16 holds
const DAMAGED = "This link is damaged or not one of this page: nothing was opened. Ask for it again.";
const OTHERS = "This link was made with other weights than this page has, so its answers would be wrong here. Open it on the page it comes from.";

/** A name without what nobody can see and what could pass for markup; "" where nothing is left. */
export function cleanName(text) {
  const left = Array.from(text.normalize("NFC").replace(UNSEEN, "").trim()).slice(0, LONGEST_NAME).join("").trim();
  return SEEN.test(left) ? left : "";
}

const digest = (weights) => Uint8Array.from({ length: 4 }, (_, place) => parseInt(weights.slice(2 * place, 2 * place + 2), 16));

/** The bytes of a head. */
export function packHead({ names, kernel, bias, other, rejection }, weights) {
  const width = kernel.length / bias.length, last = names.length - 1, encoder = new TextEncoder();
  const parts = [Uint8Array.of(VERSION, ...digest(weights), other === null ? 0 : 1, Math.round(255 * (rejection?.threshold ?? 0)), names.length)];
  for (const name of names) {
    const text = encoder.encode(name);
    parts.push(Uint8Array.of(text.length), text);
  }
  for (let row = 0; row < last; row++) {
    const values = Float32Array.from({ length: width }, (_, at) => kernel[row * width + at] - kernel[last * width + at]);
    const scale = values.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-9) / 127;
    parts.push(new Uint8Array(Float32Array.of(bias[row] - bias[last], scale).buffer), new Uint8Array(Int8Array.from(values, (value) => Math.round(value / scale)).buffer));
  }
  const content = joined(parts);
  return joined([content, new Uint8Array(Uint32Array.of(crc32(content)).buffer)]);
}

function joined(parts) {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** The head in such bytes; a Told where anything about them is wrong. */
export function unpackHead(bytes, weights, width) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length), end = bytes.length - 4;
  const refuse = (unless, why = DAMAGED) => { if (!unless) throw new Told(why); };
  refuse(end > 8 && bytes[0] === VERSION && view.getUint32(end, true) === crc32(bytes.subarray(0, end)));
  refuse(digest(weights).every((value, place) => bytes[1 + place] === value), OTHERS);
  const [flags, threshold, count] = bytes.subarray(5, 8);
  refuse(flags < 2 && count >= 2 && count <= MOST_CLASSES + 1);
  const names = [], decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let at = 8;
  for (let index = 0; index < count; index++) {
    const length = bytes[at];
    refuse(length && at + 1 + length <= end);
    try {
      names.push(decoder.decode(bytes.subarray(at + 1, at + 1 + length)));
    } catch {
      refuse(false);
    }
    at += 1 + length;
  }
  const isNone = (name, index) => (index === count - 1 && flags === 1) === (name === NONE);
  refuse(new Set(names).size === count && names.every((name, index) => cleanName(name) === name && isNone(name, index)));
  refuse(end - at === (count - 1) * (8 + width));
  const kernel = new Float32Array(count * width), bias = new Float32Array(count);
  for (let row = 0; row < count - 1; row++, at += 8 + width) {
    bias[row] = view.getFloat32(at, true);
    const scale = view.getFloat32(at + 4, true);
    refuse(Math.abs(bias[row]) < MOST && scale > 0 && 128 * scale < MOST); // NaN is neither
    for (let place = 0; place < width; place++) kernel[row * width + place] = scale * view.getInt8(at + 8 + place);
  }
  return { names, kernel, bias, other: flags ? count - 1 : null, rejection: { threshold: threshold / 255 }, features: [] };
}

/** Bytes as what may stand in an address: "b" and base64url, or "d" and digits, of which a QR code holds more. */
export function toText(bytes, digits = false) {
  if (digits) return `d${BigInt(`0x1${Array.from(bytes, (value) => value.toString(16).padStart(2, "0")).join("")}`)}`;
  return `b${btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")}`;
}

export function fromText(text) {
  if (text.length > LONGEST || !/^(b[\w-]+|d\d+)$/.test(text)) throw new Told(DAMAGED);
  try {
    if (text[0] === "b") return bytesOf(text.slice(1).replaceAll("-", "+").replaceAll("_", "/"));
    return Uint8Array.from(BigInt(text.slice(1)).toString(16).slice(1).match(/../g) ?? [], (pair) => parseInt(pair, 16));
  } catch {
    throw new Told(DAMAGED);
  }
}
