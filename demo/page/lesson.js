// What is being taught: classes with the features of their photos. It learns anew after every photo.

import { answerOf as namedBy } from "../device/engine.js";
import { sleep } from "./base.js";
import { crossValidate, fit, mayBeLuck, rejection, USUAL } from "./learn.js";

export const MOST_CLASSES = 20, MOST_PHOTOS = 100; // photos of a class
export const NONE = "none of these";
const QUIET_MS = 400; // without a new photo, before the photos are tested
const OWN_SHARE = 0.5; // of the weight of everyday photos that the visitor's own have in "none of these", however few
const SURE = 0.7; // over it, an answer is never "none of these": photos taken in a row look surer than the next ones

export const events = new EventTarget(); // "learned": there is another head; "judged": it was tested
export const lesson = {
  classes: [], // { name, photos: [{ features, picture, name }] }
  none: { name: NONE, photos: [], ticked: true },
  everyday: [], // features, which "none of these" learns from besides its own photos
};
let head = null; // { names, kernel, bias, other, features, rejection }; null while there is nothing to tell apart
let opened = null; // a head that came by a link
export let judged = null; // how it did on photos that it had not seen
let strength = USUAL;
let version = 0; // of the photos; what was computed for an older one is dropped
let planned = 0;

/** What answers: what came by a link, or what was taught here. */
export const model = () => opened ?? head;
export const setOpened = (one) => { opened = one; };

/** A class's name, or what stands for it. */
export const nameOf = (one) => one.name || `Thing ${lesson.classes.indexOf(one) + 1}`;

/** Why nothing can be learned of the names as they are; "" where it can. */
export function problem() {
  const names = lesson.classes.map(nameOf), twice = names.find((name, place) => names.indexOf(name) !== place || name.toLowerCase() === NONE);
  return twice ? `Two things can't both be called “${twice}”. Rename one.` : "";
}

/** The photos were changed, or the names: it learns, and is tested once nothing more comes. */
export function changed() {
  version += 1;
  clearTimeout(planned);
  planned = setTimeout(relearn, 0);
}

/** Classes that have photos, with all their features. */
function groups() {
  const { classes, none, everyday } = lesson;
  const found = classes.filter(({ photos }) => photos.length).map((one) => ({ one, name: nameOf(one), features: one.photos.map(({ features }) => features) }));
  const times = Math.max(1, Math.round((OWN_SHARE * everyday.length) / none.photos.length)); // each of its photos counts
  const own = none.photos.flatMap(({ features }) => new Array(times).fill(features));
  const others = none.ticked ? [...everyday, ...own] : [];
  if (others.length) found.push({ one: none, name: NONE, features: others });
  return found;
}

async function relearn() {
  const mine = version, found = groups(), features = found.flatMap((group) => group.features);
  judged = null;
  if (problem() || found.length < 2 || features.length <= found.length) head = null;
  else {
    const labels = found.flatMap((group, label) => group.features.map(() => label));
    learn(found, features, labels);
    planned = setTimeout(() => judge(mine, found, features, labels), QUIET_MS);
  }
  events.dispatchEvent(new Event("learned"));
}

/** The place of "none of these" among the classes that are learned; null where it is none of them. */
const otherOf = (found) => (found.at(-1).one === lesson.none ? found.length - 1 : null);

function learn(found, features, labels, rule = null) {
  const { kernel, bias } = fit(features, labels, found.length, strength), other = otherOf(found);
  head = { names: found.map(({ name }) => name), kernel: Float32Array.from(kernel), bias: Float32Array.from(bias), other, features, rejection: rule };
}

/** Tests by cross-validation, in pieces, so that the page stays alive; then learns with what did best. */
async function judge(mine, found, features, labels) {
  const gone = () => mine !== version;
  const tested = await crossValidate(features, labels, found.length, async () => {
    await sleep(0);
    if (gone()) throw new Error("overtaken");
  }).catch((error) => { if (!gone()) throw error; });
  if (!tested || gone()) return;
  strength = { shrinkage: tested.shrinkage, scale: tested.scale };
  const other = otherOf(found), of = (label) => tested.answers.filter((_, place) => labels[place] === label);
  const rule = rejection(tested.answers.filter((_, place) => labels[place] !== other), other, SURE);
  learn(found, features, labels, rule);
  judged = found.filter((_, label) => label !== other).map((group, label) => verdict(group, label, of(label), head.names));
  events.dispatchEvent(new Event("judged"));
}

function verdict({ one, name }, label, answers, names) {
  const said = answers.map((row) => row.indexOf(Math.max(...row)));
  const wrong = said.flatMap((answer, place) => (answer === label ? [] : [{ photo: one.photos[place], said: names[answer] }]));
  const right = said.length - wrong.length;
  return { name, right, of: said.length, luck: mayBeLuck(right, said.length, 1 / names.length), wrong };
}

/** An answer in the form of the API's; until there is a threshold, only the class "none of these" rejects. */
export const answerOf = ({ names, other, rejection: rule }, values) => namedBy(values, names, { threshold: 0, ...rule, other });
