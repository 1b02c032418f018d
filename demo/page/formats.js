// The table "Same photo, other formats": this server and this device side by side.

import { byId, counted, create, facts, tell } from "./base.js";
import { NONE_OF_THESE } from "./answer.js";
import { engineName } from "./device.js";

const rows = new Map(); // format -> { line, said, there, here: cells, answers: { there, here } }

/** Draws the table; at first Keras, the small file and what this device runs. */
export function drawFormats() {
  byId("there").replaceChildren(facts.server ? "This server, ms " : "A server, recorded, ms ", create("small", {}, "(slow case)"));
  const first = [...facts.first, facts.device_first];
  byId("formats").querySelector("tbody").replaceChildren(...allFormats().map(({ name, title, size_bytes }) => {
    const cells = { said: create("td", { class: "said" }), there: create("td", { class: "number" }), here: create("td", { class: "number" }) };
    const size = create("small", {}, size_bytes ? `${(size_bytes / 1e6).toFixed(2)} MB` : "");
    const line = create("tr", { "data-format": name, hidden: !first.includes(name) }, create("th", { scope: "row" }, title, " ", size), ...Object.values(cells));
    rows.set(name, { line, ...cells, answers: {}, recorded: null });
    return line;
  }));
  for (const { name, p50, p95 } of facts.recorded?.rows ?? []) {
    const row = rows.get(name);
    row.recorded = { latency_ms: { p50, p95 } };
    row.line.hidden = name !== "keras" && !first.includes(name);
    time(row.there, row.recorded);
  }
  if (facts.recorded) byId("speed").textContent = recorded();
  byId("markdown").addEventListener("click", copyMarkdown);
  const canRun = facts.device.length && facts.engine;
  for (const id of ["run-here", "live"]) byId(id).hidden = !canRun;
}

/** The server's formats; without one, those on this device and those that the report measured elsewhere. */
function allFormats() {
  const known = facts.formats.map(({ name }) => name);
  const elsewhere = (facts.recorded?.rows ?? []).filter(({ name }) => !known.includes(name));
  return [...elsewhere, ...facts.formats];
}

export const showAllRows = () => { for (const { line } of rows.values()) line.hidden = false; };

/** One format's answer and time; `place` is "there" for the server, "here" for this device. */
export function showRow(name, answer, place) {
  const row = rows.get(name);
  row.line.hidden = false;
  row.answers[place] = answer;
  row.said.textContent = said(row);
  time(row[place], answer);
  byId("markdown").disabled = false;
  drawBars();
}

const said = ({ answers }) => [...new Set(Object.values(answers).map((one) => (one.unknown ? NONE_OF_THESE : facts.display[one.label])))].join(" / ");

function time(cell, { latency_ms: { p50, p95 } }) {
  cell.replaceChildren(p50.toFixed(1), create("small", {}, ` (${p95.toFixed(1)})`));
}

const p50 = (row, place) => (row.answers[place] ?? (place === "there" ? row.recorded : null))?.latency_ms.p50 ?? 0;

function drawBars() {
  const every = [...rows.values()].flatMap((row) => [p50(row, "there"), p50(row, "here")]);
  for (const row of rows.values()) {
    for (const place of ["there", "here"]) row[place].style.setProperty("--share", `${(100 * p50(row, place)) / Math.max(...every, 1e-9)}%`);
  }
}

export function clearRows() {
  for (const row of rows.values()) {
    row.answers = {};
    row.said.textContent = row.here.textContent = "";
    if (!row.recorded) row.there.textContent = "";
  }
  byId("speed").textContent = facts.recorded ? recorded() : "";
  byId("here-note").textContent = "";
  byId("markdown").disabled = true;
  drawBars();
}

const titleOf = (name) => allFormats().find((format) => format.name === name).title;
const disjoint = (a, b) => a.latency_ms.p50_range[1] < b.latency_ms.p50_range[0] || b.latency_ms.p50_range[1] < a.latency_ms.p50_range[0];
const ratio = (value, more, less) => (value >= 1 ? `${value.toFixed(1)}x ${more}` : `${(1 / value).toFixed(1)}x ${less}`);
const recorded = () => `The server's times were recorded when the weights were made (${facts.recorded.where}), not on this device.`;

/** What the server's comparison comes to: sizes always, speed only where the medians can be told apart. */
export function compared(answers) {
  const [first, ...others] = Object.keys(answers);
  const busy = Object.values(answers).some(({ latency_ms: { p50, p95 } }) => p95 > 2 * p50);
  const sentences = [];
  if (others.length) {
    const small = others.reduce((a, b) => (answers[a].size_bytes <= answers[b].size_bytes ? a : b));
    const [a, b] = [answers[first], answers[small]];
    const parts = [`${ratio(a.size_bytes / b.size_bytes, "smaller", "larger")} than ${titleOf(first)}`];
    if (disjoint(a, b) && !busy) parts.push(ratio(a.latency_ms.p50 / b.latency_ms.p50, "faster", "slower"));
    parts.push(a.label === b.label && a.unknown === b.unknown ? "same answer" : "another answer");
    sentences.push(`${titleOf(small)} is ${parts.join(", ")}.`);
  }
  sentences.push(busy ? "The server is busy: these times say little." : `Measured in turns on this server (${facts.processor}; ${engines(answers)}).`);
  return sentences.join(" ");
}

/** What ran, by its true names. */
function engines(answers) {
  const names = Object.values(answers).map(({ engine, latency_ms: { threads } }) => `${engine}, ${counted(threads, "thread")}`);
  return [...new Set(names)].join("; ");
}

/** Text that Markdown shows as it is: names come from a bundle, whoever made it. */
export const plain = (text) => text.replace(/\s+/g, " ").replace(/[\\`*_[\]<>#|&~$]|@(?=\w)|:(?=\/\/)|www(?=\.)/gi, (found) => `&#${found.codePointAt(0)};${found.slice(1)}`);

/** The table as people pass it on. */
function markdown() {
  const cell = (answer) => (answer ? `${answer.latency_ms.p50.toFixed(1)} (${answer.latency_ms.p95.toFixed(1)})` : "");
  const lines = [...rows].filter(([, row]) => !row.line.hidden).map(([name, row]) =>
    `| ${titleOf(name)} | ${plain(said(row))} | ${cell(row.answers.there ?? row.recorded)} | ${cell(row.answers.here)} |`);
  const there = byId("there").textContent;
  return [`| format | answer | ${there} | this device, ms (slow case) |`, "| --- | --- | ---: | ---: |", ...lines, "",
    [plain(byId("speed").textContent), engineName() && `This device: LiteRT.js, ${engineName()}, 1 thread.`].filter(Boolean).join(" ")].join("\n");
}

async function copyMarkdown() {
  const button = byId("markdown"), before = button.textContent;
  try {
    await navigator.clipboard.writeText(markdown());
    button.textContent = "Copied";
  } catch {
    tell("This browser does not let the page copy.");
  } finally {
    setTimeout(() => { button.textContent = before; }, 1500);
  }
}

