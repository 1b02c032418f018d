// A card to pass on: the photo, the answer, how fast and how small, and this page's address.

import { byId, facts, here, save, Told } from "./base.js";
import { nameOf, say } from "./answer.js";

const WIDTH = 1080, HEIGHT = 1350, MARGIN = 60, PICTURE = 900;

/** Draws the card, copies it where the browser can, and else saves it. */
export async function share({ answer, time }, image) {
  const blob = await card(answer, time, image);
  const file = new File([blob], "answer.png", { type: "image/png" });
  if (navigator.canShare?.({ files: [file] }) && matchMedia("(pointer: coarse)").matches) return navigator.share({ files: [file] }).catch(() => {});
  try {
    await navigator.clipboard.write([new ClipboardItem({ "image/png": blob })]);
    say("The card is copied.");
  } catch {
    save(blob, "answer.png");
    say("The card is saved.");
  }
}

function card(answer, time, image) {
  const canvas = new OffscreenCanvas(WIDTH, HEIGHT), pen = canvas.getContext("2d");
  if (!image.naturalWidth) throw new Told("This browser can't draw the photo.");
  pen.fillStyle = "#f4f8f5";
  pen.fillRect(0, 0, WIDTH, HEIGHT);
  const side = Math.min(image.naturalWidth, image.naturalHeight);
  pen.drawImage(image, (image.naturalWidth - side) / 2, (image.naturalHeight - side) / 2, side, side, (WIDTH - PICTURE) / 2, MARGIN, PICTURE, PICTURE);
  write(pen, nameOf(answer), 78, "800", answer.unknown ? "#8a4b00" : "#0f7a45", MARGIN + PICTURE + 100);
  write(pen, about(time), 34, "400", "#17211b", MARGIN + PICTURE + 180);
  write(pen, here(".").host === "" ? "" : here(".").href.replace(/^https?:\/\//, "").replace(/\/$/, ""), 30, "400", "#56625b", HEIGHT - MARGIN);
  return canvas.convertToBlob({ type: "image/png" });
}

const about = (time) => {
  const size = facts.formats.find(({ name }) => name === facts.device_first)?.size_bytes;
  const small = size ? `${(size / 1e6).toFixed(1)} MB` : "";
  return time ? `named on my ${matchMedia("(pointer: coarse)").matches ? "phone" : "computer"} in ${time.toFixed(0)} ms, ${small}, nothing sent` : byId("title").querySelector("p").textContent.split(",").slice(0, 2).join(",");
};

function write(pen, text, size, weight, colour, y) {
  pen.fillStyle = colour;
  pen.textAlign = "center";
  do pen.font = `${weight} ${size}px system-ui, sans-serif`;
  while (pen.measureText(text).width > WIDTH - 2 * MARGIN && (size -= 2) > 16);
  pen.fillText(text, WIDTH / 2, y);
}
