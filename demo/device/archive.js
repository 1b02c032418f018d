// Zip files whose members are stored as they are.
//
// Written here because the places in a zip behind another file, as MediaPipe reads one behind a .tflite file,
// count from that file's start, which the packages for zips in browsers can't be told.

const LOCAL = 0x04034b50, ENTRY = 0x02014b50, END = 0x06054b50;
const JANUARY_1980 = 0x21; // a fixed date: the same members make the same file
const UTF8 = 0x0800;
const CRC = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = (byte >>> 1) ^ (byte & 1 ? 0xedb88320 : 0);
  return byte;
});

export function crc32(bytes) {
  let crc = -1;
  for (let at = 0; at < bytes.length; at++) crc = (crc >>> 8) ^ CRC[(crc ^ bytes[at]) & 255];
  return ~crc >>> 0;
}

/** Numbers as little-endian bytes: pairs of width and value. */
function packed(...numbers) {
  const view = new DataView(new ArrayBuffer(numbers.reduce((sum, [width]) => sum + width, 0)));
  let at = 0;
  for (const [width, value] of numbers) {
    if (width === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += width;
  }
  return new Uint8Array(view.buffer);
}

/**
 * A zip file.
 * @param {Object<string, string | Uint8Array>} members name -> content.
 * @param {Uint8Array} [before] a file that it is put behind.
 */
export function zipped(members, before = new Uint8Array(0)) {
  const parts = [before], entries = [], encoder = new TextEncoder();
  let at = before.length;
  const add = (...more) => { for (const part of more) { parts.push(part); at += part.length; } };
  for (const [member, given] of Object.entries(members)) {
    const name = encoder.encode(member), content = typeof given === "string" ? encoder.encode(given) : given, place = at;
    const about = [[2, UTF8], [2, 0], [2, 0], [2, JANUARY_1980], [4, crc32(content)], [4, content.length], [4, content.length], [2, name.length], [2, 0]];
    add(packed([4, LOCAL], [2, 20], ...about), name, content);
    entries.push(packed([4, ENTRY], [2, 20], [2, 20], ...about, [2, 0], [2, 0], [2, 0], [4, 0], [4, place]), name);
  }
  const start = at, count = entries.length / 2;
  add(...entries);
  add(packed([4, END], [2, 0], [2, 0], [2, count], [2, count], [4, at - start], [4, start], [2, 0]));
  return new Blob(parts);
}
