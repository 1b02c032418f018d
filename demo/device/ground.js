// What a transparent photo lies on: white, or black where white would hide everything (a white drawing), as in
// mobilevit_core/images/reading.py.

const ONE_COLOUR = 8; // levels between the darkest and the brightest pixel of any channel
const STRIP_ROWS = 64; // read at a time: nearly every photo has two colours in its first rows

/** Draws a photo over the ground that shows it, as large as the context's canvas. */
export function drawOnGround(context, photo) {
  const { width, height } = context.canvas;
  for (const ground of ["white", "black", "white"]) {
    context.fillStyle = ground;
    context.fillRect(0, 0, width, height);
    context.drawImage(photo, 0, 0, width, height);
    if (!hasOneColour(context)) return;
  }
}

function hasOneColour(context) {
  const { width, height } = context.canvas;
  const lowest = [255, 255, 255], highest = [0, 0, 0];
  for (let top = 0; top < height; top += STRIP_ROWS) {
    const { data } = context.getImageData(0, top, width, Math.min(STRIP_ROWS, height - top));
    for (let place = 0; place < data.length; place += 4) {
      for (let channel = 0; channel < 3; channel++) {
        const value = data[place + channel];
        if (value < lowest[channel]) lowest[channel] = value;
        if (value > highest[channel]) highest[channel] = value;
      }
    }
    if (highest.some((value, channel) => value - lowest[channel] > ONE_COLOUR)) return false;
  }
  return true;
}
