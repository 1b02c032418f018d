// A classifier from the features of a few photos: mobilevit_core/training/linear_probe.py in JavaScript.
//
// Linear discriminant analysis: all classes share one covariance of the standardized features, drawn towards the
// same variance in all directions; each class counts as much as any other. How far it is drawn, and how sure the
// answers are, is chosen by the log-likelihood of photos that were left out. Python takes the eigenvectors once;
// here every strength solves its equations by Cholesky, which is a tenth of the work.

export const SHRINKAGES = [0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95];
export const SCALES = [0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8]; // of the outputs before softmax
export const USUAL = { shrinkage: 0.2, scale: 0.1 }; // until there are enough photos to choose by
const FOLDS = 5;
const FLATTEST = 100; // times less than the mean deviation, under which a feature counts as if it had that
const SMALLEST = 1e-6; // probability, before a logarithm
const FALSE_REJECTION_RATE = 0.05; // share of photos of the classes that may be called none of them

/** Four sums at a time: three times as fast, as the processor need not wait for each. Float64Array alone. */
function dot(a, startA, b, startB, width) {
  let one = 0, two = 0, three = 0, four = 0, at = 0;
  for (; at + 3 < width; at += 4) {
    one += a[startA + at] * b[startB + at];
    two += a[startA + at + 1] * b[startB + at + 1];
    three += a[startA + at + 2] * b[startB + at + 2];
    four += a[startA + at + 3] * b[startB + at + 3];
  }
  for (; at < width; at++) one += a[startA + at] * b[startB + at];
  return one + two + three + four;
}

/** What all strengths need: means, deviations and the shared covariance. */
function statistics(features, labels, classes) {
  const width = features[0].length, counts = new Array(classes).fill(0);
  for (const label of labels) counts[label] += 1;
  const weight = (place) => 1 / counts[labels[place]] / classes;
  const centre = new Float64Array(width), deviation = new Float64Array(width);
  features.forEach((one, place) => { for (let at = 0; at < width; at++) centre[at] += weight(place) * one[at]; });
  features.forEach((one, place) => { for (let at = 0; at < width; at++) deviation[at] += weight(place) * (one[at] - centre[at]) ** 2; });
  for (let at = 0; at < width; at++) deviation[at] = Math.sqrt(deviation[at]);
  const least = deviation.reduce((sum, value) => sum + value, 0) / width / FLATTEST + 1e-9;
  for (let at = 0; at < width; at++) deviation[at] = Math.max(deviation[at], least); // else it leaves int8 no bits
  const standard = features.map((one) => Float64Array.from(one, (value, at) => (value - centre[at]) / deviation[at]));
  const means = new Float64Array(classes * width);
  standard.forEach((one, place) => { for (let at = 0; at < width; at++) means[labels[place] * width + at] += one[at] / counts[labels[place]]; });
  return { width, classes, centre, deviation, means, ...covariance(standard, labels, means, weight, width) };
}

function covariance(standard, labels, means, weight, width) {
  const count = standard.length, columns = new Float64Array(width * count); // of each feature: all photos
  standard.forEach((one, place) => {
    const root = Math.sqrt(weight(place)), start = labels[place] * width;
    for (let at = 0; at < width; at++) columns[at * count + place] = root * (one[at] - means[start + at]);
  });
  const scatter = new Float64Array(width * width); // the lower triangle
  let trace = 0;
  for (let row = 0; row < width; row++) {
    for (let column = 0; column <= row; column++) scatter[row * width + column] = dot(columns, row * count, columns, column * count, count);
    trace += scatter[row * width + row];
  }
  return { scatter, variance: trace / width };
}

/** The lower Cholesky factor of the covariance, drawn towards the same variance in all directions. */
function factored({ scatter, variance, width }, shrinkage) {
  const lower = scatter.map((value) => (1 - shrinkage) * value);
  for (let row = 0; row < width; row++) {
    const start = row * width;
    lower[start + row] += shrinkage * variance + 1e-12;
    for (let column = 0; column <= row; column++) {
      const rest = lower[start + column] - dot(lower, start, lower, column * width, column);
      lower[start + column] = column === row ? Math.sqrt(rest) : rest / lower[column * width + column];
    }
  }
  return lower;
}

/** Kernel (by class, then by feature) and bias at one strength. */
function solution(known, shrinkage) {
  const { width, classes, centre, deviation, means } = known, lower = factored(known, shrinkage);
  const kernel = new Float64Array(classes * width), bias = new Float64Array(classes);
  for (let row = 0; row < classes; row++) {
    const own = kernel.subarray(row * width, (row + 1) * width);
    for (let at = 0; at < width; at++) own[at] = (means[row * width + at] - dot(lower, at * width, own, 0, at)) / lower[at * width + at];
    for (let at = width - 1; at >= 0; at--) {
      own[at] /= lower[at * width + at];
      for (let before = 0; before < at; before++) own[before] -= lower[at * width + before] * own[at];
    }
    bias[row] = -Math.log(classes) - dot(means, row * width, own, 0, width) / 2;
    for (let at = 0; at < width; at++) own[at] /= deviation[at];
    bias[row] -= dot(centre, 0, own, 0, width);
  }
  return { kernel, bias };
}

const scaled = ({ kernel, bias }, scale) => ({ kernel: kernel.map((value) => scale * value), bias: bias.map((value) => scale * value) });

/** The classifier of all photos: kernel by class, then by feature. */
export const fit = (features, labels, classes, { shrinkage, scale }) => scaled(solution(statistics(features, labels, classes), shrinkage), scale);

export function softmax(values) {
  const highest = Math.max(...values), raised = Array.from(values, (value) => Math.exp(value - highest));
  const sum = raised.reduce((a, b) => a + b, 0);
  return raised.map((value) => value / sum);
}

const outputs = ({ kernel, bias }, one) => Array.from(bias, (start, row) => start + dot(kernel, row * one.length, Float64Array.from(one), 0, one.length));

export const probabilities = (head, features) => softmax(outputs(head, features));

/** The fold of each photo: pieces of each class in the order in which its photos came, so that neighbours stay together. */
export function foldsOf(labels, classes) {
  const counts = new Array(classes).fill(0), seen = new Array(classes).fill(0);
  for (const label of labels) counts[label] += 1;
  const folds = Math.min(FOLDS, ...counts);
  return { folds, parts: labels.map((label) => Math.floor((seen[label]++ * folds) / counts[label])) };
}

/**
 * Answers to every photo by classifiers that never saw it, and the strength that they are best with.
 * @param {() => Promise} pause comes between the parts of the work.
 * @returns null where a class has under two photos.
 */
export async function crossValidate(features, labels, classes, pause = async () => {}) {
  const { folds, parts } = foldsOf(labels, classes);
  if (folds < 2) return null;
  const left = SHRINKAGES.map(() => new Array(labels.length));
  for (let fold = 0; fold < folds; fold++) {
    await pause();
    const rest = labels.map((_, place) => place).filter((place) => parts[place] !== fold);
    const known = statistics(rest.map((place) => features[place]), rest.map((place) => labels[place]), classes);
    for (const [number, shrinkage] of SHRINKAGES.entries()) {
      await pause();
      const head = solution(known, shrinkage);
      parts.forEach((part, place) => { if (part === fold) left[number][place] = outputs(head, features[place]); });
    }
  }
  return best(left, labels, classes);
}

function best(left, labels, classes) {
  const counts = new Array(classes).fill(0);
  for (const label of labels) counts[label] += 1;
  let found = { loss: Infinity };
  for (const scale of SCALES) { // the first of equals, as in Python: by strength, then by scale
    for (const [number, rows] of left.entries()) {
      const answers = rows.map((row) => softmax(row.map((value) => scale * value)));
      const loss = answers.reduce((sum, row, place) => sum - Math.log(Math.max(row[labels[place]], SMALLEST)) / counts[labels[place]] / classes, 0);
      if (loss < found.loss) found = { loss, shrinkage: SHRINKAGES[number], scale, answers };
    }
  }
  return found;
}

/** Whether so many right answers may be luck: Wilson's interval of their share reaches down to `chance`. */
export function mayBeLuck(right, of, chance, z = 1.645) {
  const share = right / of, low = (share + z ** 2 / (2 * of) - z * Math.sqrt((share * (1 - share)) / of + z ** 2 / (4 * of ** 2))) / (1 + z ** 2 / of);
  return low <= chance;
}

/** The threshold under which an answer is "none of these", at most `most`: RejectionRule.fit of mobilevit_core/bundle/rejection.py. */
export function rejection(answers, other, most = 1) {
  const known = (row) => Math.max(...row.filter((_, index) => index !== other));
  const isOther = (row) => other !== null && row[other] >= Math.max(...row);
  const scores = answers.map((row) => (isOther(row) ? 0 : known(row))).sort((a, b) => a - b);
  const ordered = [other === null ? 1 / answers[0].length : 0, ...scores];
  const place = Math.min(FALSE_REJECTION_RATE * (scores.length + 1), scores.length), low = Math.floor(place);
  const threshold = Math.min(ordered[low] + (place - low) * ((ordered[low + 1] ?? ordered[low]) - ordered[low]), most);
  const rejected = answers.filter((row) => isOther(row) || known(row) < threshold).length;
  return { threshold, false_rejection_rate: rejected / answers.length, photos: answers.length, ...(other === null ? {} : { other }) };
}
