// The one large answer: a name, how sure, and one bar per class. Names come from a bundle: they are text, never markup.

let facts = null; // of the bundle: what demo/words.py says

/** The likeliest of the classes proper: what a rejected photo looks most like. */
const bestKnown = ({ predictions }) => predictions.find((row) => row.label !== facts.other) ?? predictions[0];

/** What the answer is called, and how sure it is. Never a percentage alone: the photo may show anything. */
function inWords(answer) {
  const best = bestKnown(answer);
  if (!answer.unknown) {
    return { name: facts.display[answer.label], sure: `${answer.score > 0.995 ? "Over 99 %" : percent(answer.score)} sure, if it is one of the ${facts.kind} it knows.`, why: facts.knows };
  }
  const like = `Looks most like ${facts.phrase[best.label]}. It knows ${facts.kind}; this is probably none of them.`;
  return { name: "Probably none of these", sure: like, why: whyUnknown(best.score) };
}

function whyUnknown(score) {
  const { threshold, false_alarms: share } = facts.rejection ?? {};
  if (!share) return "";
  const few = `${share <= 0.1 ? "Only about" : "About"} 1 in ${Math.round(1 / share)} real photos of these ${facts.thing}`;
  return score < threshold ? `Not sure: under ${percent(threshold)}. ${few} scores this low.` : `${few} gets this answer.`;
}

function showAnswer(answer) {
  const { name, sure, why } = inWords(answer);
  byId("answer").classList.toggle("unknown", answer.unknown);
  byId("name").textContent = name;
  byId("sure").textContent = sure;
  byId("why").textContent = why;
  byId("bars").replaceChildren(...answer.predictions.map(bar));
}

function bar({ label, score }) {
  const name = facts.display[label] ?? label, width = `${(score * 100).toFixed(1)}%`;
  const meter = create("span", {
    role: "meter", class: "meter", "aria-label": name, "aria-valuemin": 0, "aria-valuemax": 100,
    "aria-valuenow": Math.round(score * 100), "aria-valuetext": percent(score), style: `--share: ${width}`,
  });
  return create("li", {}, create("span", { class: "label" }, name), meter, create("span", { class: "share" }, percent(score)));
}

/** The place is kept, so that nothing jumps. */
function clearAnswer() {
  byId("answer").classList.remove("unknown");
  byId("name").textContent = "\u00a0";
  byId("sure").textContent = byId("why").textContent = "";
  byId("bars").replaceChildren(...facts.class_names.slice(0, 5).map((label) => {
    const row = bar({ label, score: 0 });
    row.querySelector(".share").textContent = "\u00a0";
    return row;
  }));
}

function showProblem(text) {
  clearAnswer();
  byId("name").textContent = "No answer";
  byId("sure").textContent = text;
}

const say = (text) => { byId("status").textContent = text; };
