// The one large answer: a name, how sure, and one bar per class. Names come from a bundle: they are text, never markup.

import { byId, create, facts, percent } from "./base.js";

export const NONE_OF_THESE = "None of these", PROBABLY_NONE = "Probably none of these";
const CLOSE = 0.2; // two classes that are no further apart, and both above it, are told together
const LIKE = 0.2; // under this, "looks most like" says nothing

/** The likeliest of the classes proper: what a rejected photo looks most like. */
export const bestKnown = ({ predictions }) => predictions.find((row) => row.label !== facts.other) ?? predictions[0];

/** The second class where it is nearly as likely as the first. */
function rival({ unknown, predictions: [first, second] }) {
  if (unknown || !second || second.label === facts.other) return null;
  return second.score > CLOSE && first.score - second.score < CLOSE ? second : null;
}

/** What an answer is called in few words. */
export const nameOf = (answer) => (answer.unknown ? PROBABLY_NONE : rival(answer) ? `${facts.display[answer.label]} or ${facts.display[rival(answer).label].toLowerCase()}?` : facts.display[answer.label]);

/** What the answer is called, and how sure it is. Never a percentage alone: the photo may show anything. */
function inWords(answer) {
  const best = bestKnown(answer), second = rival(answer);
  if (second) return { sure: `A close call: ${percent(answer.score)} and ${percent(second.score)}.`, why: facts.knows };
  if (!answer.unknown) {
    return { sure: `${answer.score > 0.995 ? "Over 99 %" : percent(answer.score)} sure, if it is one of the ${facts.kind} it knows.`, why: facts.knows };
  }
  const like = best.score > LIKE ? `Looks most like ${facts.phrase[best.label]}. ` : "";
  return { sure: `${like}It knows ${facts.kind}; this is probably none of them.`, why: whyUnknown(best.score) };
}

function whyUnknown(score) {
  const { threshold, false_rejection_rate: share } = facts.rejection ?? {};
  if (!share) return "";
  const few = `${share <= 0.1 ? "Only about" : "About"} 1 in ${Math.round(1 / share)} real photos of these ${facts.thing}`;
  return score < threshold ? `Not sure: under ${percent(threshold)}. ${few} scores this low.` : `${few} gets this answer.`;
}

/** Draws an answer; `verdict` is what an example's true name makes of it. */
export function showAnswer(answer, verdict = null) {
  const { sure, why } = inWords(answer);
  byId("answer").classList.toggle("unknown", answer.unknown);
  byId("answer").classList.toggle("close", Boolean(rival(answer)));
  headline(nameOf(answer));
  showVerdict(verdict);
  byId("sure").textContent = sure;
  byId("why").textContent = why;
  byId("bars").replaceChildren(...answer.predictions.map(bar));
}

/** Whether an answer is what an example shows; null where that is not known. `truth` is null for none of the classes. */
export function judge(answer, truth) {
  if (truth === undefined) return null;
  const right = truth === null ? answer.unknown : !answer.unknown && answer.label === truth;
  return { right, text: right ? "✓ right" : `✗ wrong: this is ${truth === null ? "none of these" : facts.phrase[truth]}` };
}

function showVerdict(verdict) {
  byId("verdict").textContent = verdict?.text ?? "";
  byId("verdict").className = verdict ? (verdict.right ? "right" : "wrong") : "";
}

export function bar({ label, score, name = facts.display[label] ?? label }) {
  const meter = create("span", {
    role: "meter", class: "meter", "aria-label": name, "aria-valuemin": 0, "aria-valuemax": 100,
    "aria-valuenow": Math.round(score * 100), "aria-valuetext": percent(score), style: { "--share": `${(score * 100).toFixed(1)}%` },
  });
  return create("li", {}, create("span", { class: "label" }, name), meter, create("span", { class: "share" }, percent(score)));
}

/** The answer in large letters; an empty one keeps its place, and nobody reads it out. */
function headline(text) {
  byId("name").textContent = text || "\u00a0";
  byId("name").ariaHidden = String(!text);
}

/** The place is kept, so that nothing jumps. */
export function clearAnswer() {
  byId("answer").classList.remove("unknown", "close");
  headline("");
  showVerdict(null);
  byId("sure").textContent = byId("why").textContent = "";
  byId("bars").replaceChildren(...facts.class_names.slice(0, 5).map((label) => {
    const row = bar({ label, score: 0 });
    row.querySelector(".share").textContent = "\u00a0";
    return row;
  }));
}

export function showProblem(text) {
  clearAnswer();
  byId("answer").classList.add("unknown"); // no green over a failure
  headline("No answer");
  byId("sure").textContent = text;
}

export const say = (text) => { byId("status").textContent = text; };
