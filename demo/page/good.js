// "How good is it?": the figures first, then the bundle's report in a frame that runs nothing.

import { byId, create, facts } from "./base.js";

export function startGood() {
  byId("tiles").replaceChildren(...facts.tiles.map(({ title, value, text }) =>
    create("div", { class: "card" }, create("dt", {}, title), create("dd", { class: "value" }, value), create("dd", {}, text))));
  if (facts.origins.length) {
    byId("lineage").hidden = false;
    byId("lineage").querySelector("ul").replaceChildren(...facts.origins.map((phrase) => create("li", {}, `${phrase[0].toUpperCase()}${phrase.slice(1)}.`)));
  }
  byId("evidence").replaceChildren(...(facts.report ? reportFrame() : [create("p", {}, ...noReport())]));
}

function noReport() {
  if (facts.crossed) return ["This model has no report. The figures above come from its training."];
  const text = facts.measured ? "This bundle has no report yet." : "It has not been measured yet.";
  return [`${text} To write one: `, create("code", {}, "python -m mobilevit_core evaluate BUNDLE --split test --all-formats")];
}

function reportFrame() {
  const link = create("a", { href: "report/index.html", download: "report.html" }, "Download the report as one file");
  const frame = create("iframe", { src: "report/index.html", title: "How the weights were trained and what was measured", sandbox: "", loading: "lazy" });
  return [create("p", {}, link), frame];
}
