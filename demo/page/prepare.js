// A photo is shrunk before it is sent: 0.1 MB in place of 3, with the same crop and, but for rounding, the same answer.

import { drawOnGround } from "../device/ground.js";
import { facts, Told } from "./base.js";
import { UNREADABLE } from "./device.js";

const ENOUGH = 300_000; // bytes that are sent as they are
const SENT_AS_IT_IS = ["image/jpeg", "image/png", "image/webp"]; // what every server reads
const OVERSAMPLED = 2.5; // times the pixels that the network sees along a side

/** What is sent of a photo: the file itself where it is small, else a smaller JPEG of the whole picture. */
export async function shrunk(file) {
  const plain = SENT_AS_IT_IS.includes(file.type);
  if (plain && file.size <= ENOUGH) return file;
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    return file; // the server may read what this browser can't, or says in words why not
  }
  const { image_size: size, crop_fraction: fraction = 1 } = facts.input;
  const scale = Math.min(1, (OVERSAMPLED * size) / fraction / Math.min(bitmap.width, bitmap.height));
  if (plain && scale === 1 && file.size <= 4 * ENOUGH) return file;
  const canvas = new OffscreenCanvas(Math.round(bitmap.width * scale), Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  drawOnGround(context, bitmap);
  bitmap.close();
  const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.92 });
  return new File([blob], `${(file.name ?? "photo").replace(/\.[^.]*$/, "")}.jpg`, { type: "image/jpeg" });
}

/** The server's refusal; what it can't read at all gets the way out that is told without a server, too. */
export const wayOut = (error) => (error instanceof Told && /is not a JPEG/.test(error.message) ? new Told(`${error.message.replace(/\.?$/, ".")} ${UNREADABLE}`) : error);
