// The bundle's resize rule in the browser: what mobilevit_core/images/preprocessing.py does with Pillow.
//
// Pillow's antialiased bilinear resize: a triangle as wide as the scale, first along the rows, then along
// the columns, rounded to whole numbers after each.

/** The region of a photo that becomes the network's square: [left, top, width, height] in pixels. */
export function cropBox(rule, width, height) {
  if (rule.mode === "center_crop") {
    const side = Math.min(width, height) * rule.crop_fraction;
    return [(width - side) / 2, (height - side) / 2, side, side];
  }
  if (rule.mode === "squash") return [0, 0, width, height];
  throw new Error(`this page does not know the resize mode ${rule.mode}`);
}

/** For every output pixel along one axis: the first input pixel and the weights of it and the next ones. */
function triangleWeights(inputSize, start, extent, outputSize) {
  const scale = extent / outputSize;
  const support = Math.max(scale, 1);
  return Array.from({ length: outputSize }, (_, index) => {
    const center = start + (index + 0.5) * scale;
    const first = Math.max(Math.trunc(center - support + 0.5), 0);
    const end = Math.min(Math.trunc(center + support + 0.5), inputSize);
    const weights = [];
    for (let at = first; at < end; at++) {
      weights.push(Math.max(1 - Math.abs((at - center + 0.5) / support), 0));
    }
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return { first, weights: weights.map((weight) => weight / total) };
  });
}

/**
 * The network's input for a photo.
 * @param {ImageData} photo RGBA, upright.
 * @param {{image_size: number, mode: string, crop_fraction: number}} rule `input` of bundle.json.
 * @returns {Float32Array} RGB 0..255, image_size * image_size * 3.
 */
export function photoToTensor(photo, rule) {
  const { width, height, data } = photo;
  const size = rule.image_size;
  const [left, top, boxWidth, boxHeight] = cropBox(rule, width, height);
  const columns = triangleWeights(width, left, boxWidth, size);
  const rows = triangleWeights(height, top, boxHeight, size);
  const firstRow = rows[0].first;
  const endRow = rows[size - 1].first + rows[size - 1].weights.length;
  const narrow = new Uint8ClampedArray((endRow - firstRow) * size * 3); // rounds as it is written
  for (let y = firstRow; y < endRow; y++) {
    for (let x = 0; x < size; x++) {
      const { first, weights } = columns[x];
      let red = 0, green = 0, blue = 0;
      for (let tap = 0, at = (y * width + first) * 4; tap < weights.length; tap++, at += 4) {
        red += weights[tap] * data[at];
        green += weights[tap] * data[at + 1];
        blue += weights[tap] * data[at + 2];
      }
      narrow.set([red, green, blue], ((y - firstRow) * size + x) * 3);
    }
  }
  const small = new Uint8ClampedArray(size * size * 3);
  for (let y = 0; y < size; y++) {
    const { first, weights } = rows[y];
    for (let x = 0; x < size * 3; x++) {
      let value = 0;
      for (let tap = 0; tap < weights.length; tap++) {
        value += weights[tap] * narrow[(first - firstRow + tap) * size * 3 + x];
      }
      small[y * size * 3 + x] = value;
    }
  }
  return Float32Array.from(small);
}
