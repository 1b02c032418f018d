// Many photos: named as they come, grouped by answer, the least sure first.

import { byId, counted, create, facts, isPrivate, onChosen, percent, save, sentence } from "./base.js";
import { bestKnown } from "./answer.js";
import { deviceProblem, withEngine } from "./device.js";
import { shrunk, wayOut } from "./prepare.js";
import { call, upload } from "./server.js";

const MOST = 500, AT_ONCE = 4;
const NONE_GROUP = "Unsure", COLUMNS = ["Photo", "Answer", "How sure", "Second", "Note"];
let batch = { rows: [], files: [], sort: null };

/** Whether photos are or were named that a reload would lose. */
export const isBusy = () => batch.files.length > 1;

export async function nameAll(files) {
  const chosen = files.slice(0, MOST);
  const mine = { rows: [], files: chosen, sort: null, format: byId("many-format").value };
  for (const { url } of batch.rows) URL.revokeObjectURL(url);
  batch = mine;
  draw(mine);
  const left = [...chosen];
  const say = (text) => { if (batch === mine) byId("many-status").textContent = text; };
  const note = files.length > MOST ? ` Only the first ${MOST} of ${files.length} were taken.` : "";
  const workers = Array.from({ length: AT_ONCE }, async () => {
    while (left.length && batch === mine) {
      const file = left.shift();
      const row = await nameOne(file, mine.format);
      mine.rows.push(row);
      say(`Naming ${mine.rows.length} of ${chosen.length} ...`);
      if (batch === mine && mine.rows.length % 12 === 0) draw(mine);
    }
  });
  await Promise.all(workers);
  if (batch !== mine) return;
  draw(mine);
  say(counts(mine.rows) + note);
}

async function nameOne(file, format) {
  const row = { file: file.name, url: URL.createObjectURL(file), answer: null, problem: "" };
  try {
    if (isPrivate()) row.answer = await withEngine(facts.device.includes(format) ? format : facts.device_first, (engine) => engine.classify(file));
    else [row.answer] = await call("classify", [await upload(await shrunk(file)), format]);
  } catch (error) {
    row.problem = isPrivate() ? deviceProblem(error) : sentence(wayOut(error));
  }
  return row;
}

const groupOf = ({ answer }) => (!answer ? "Unreadable" : answer.unknown ? NONE_GROUP : facts.display[answer.label]);

/** Group -> its rows, the least sure first; what could not be read comes last. */
function grouped(rows) {
  const groups = new Map();
  for (const row of rows) groups.set(groupOf(row), [...(groups.get(groupOf(row)) ?? []), row]);
  for (const list of groups.values()) list.sort((a, b) => (a.answer?.score ?? 0) - (b.answer?.score ?? 0));
  const place = (name) => [NONE_GROUP, "Unreadable"].indexOf(name);
  return [...groups].sort(([a, first], [b, second]) => place(a) - place(b) || second.length - first.length);
}

const counts = (rows) => `${counted(rows.length, "photo")}: ` +
  grouped(rows).map(([name, list]) => `${list.length} ${inCount(name, list)}`).join(", ") + ".";

function inCount(name, [{ answer }, ...more]) {
  if (!answer || answer.unknown) return name.toLowerCase();
  return more.length ? facts.plural[answer.label] : name.toLowerCase();
}

function draw(of) {
  byId("groups").replaceChildren(...grouped(of.rows).map(([name, list]) => create("section", { class: "group" },
    create("h2", {}, `${name} `, create("span", {}, String(list.length))),
    name === "Unreadable" ? unreadable(list) : create("ul", { class: "thumbs" }, ...list.map(thumb)))));
  drawSheet(of);
  byId("csv").disabled = !of.rows.length;
}

const like = (answer) => `like ${facts.phrase[bestKnown(answer).label] ?? bestKnown(answer).label}?`;

const thumb = ({ file, url, answer }) => create("li", { title: file },
  create("img", { src: url, alt: file, loading: "lazy", decoding: "async" }),
  create("span", {}, answer.unknown ? like(answer) : percent(answer.score)));

const unreadable = (list) => create("ul", { class: "unreadable" },
  ...list.map(({ file, problem }) => create("li", {}, create("b", {}, file), ` ${problem}`)));

const cells = ({ file, answer, problem }) => [
  file,
  answer ? facts.display[answer.label] : "",
  answer ? answer.score : null,
  answer?.predictions[1] ? `${facts.display[answer.predictions[1].label]}, ${percent(answer.predictions[1].score)}` : "",
  answer?.unknown ? "probably none of these" : problem,
];

function drawSheet(of) {
  const [head, body] = [byId("sheet").querySelector("thead tr"), byId("sheet").querySelector("tbody")];
  head.replaceChildren(...COLUMNS.map((name, column) => {
    const way = of.sort?.column === column ? (of.sort.up ? "ascending" : "descending") : "none";
    const button = create("button", { type: "button" }, name);
    button.addEventListener("click", () => {
      of.sort = { column, up: !(of.sort?.column === column && of.sort.up) };
      drawSheet(of);
    });
    return create("th", { scope: "col", "aria-sort": way }, button);
  }));
  const lines = of.rows.map(cells);
  if (of.sort) {
    const { column, up } = of.sort;
    const order = (a, b) => (typeof a === "string" ? a.localeCompare(b) : (a ?? -1) - (b ?? -1));
    lines.sort((a, b) => (up ? 1 : -1) * order(a[column], b[column]));
  }
  body.replaceChildren(...lines.map((line) => create("tr", {},
    ...line.map((value, column) => create("td", {}, column === 2 ? (value === null ? "" : percent(value)) : value)))));
}

/** A cell that no spreadsheet takes for a formula. */
export function csvCell(value) {
  if (typeof value === "number") return String(value);
  // Where numbers have a comma, a semicolon begins another cell, even in quotation marks.
  const safe = String(value ?? "").replace(/(^|;)(?= *[=+\-@\t\r\n])/g, "$1'");
  return `"${safe.replaceAll('"', '""')}"`;
}

function csv({ rows, format }) {
  const head = ["photo", "answer", "score", "unknown", "format", ...facts.class_names, "problem"];
  const lines = rows.map(({ file, answer, problem }) => [
    file, answer?.label ?? "", answer?.score ?? "", answer ? String(answer.unknown) : "", format,
    ...facts.class_names.map((name) => answer?.scores[name] ?? ""), problem,
  ]);
  return [head, ...lines].map((line) => line.map(csvCell).join(",")).join("\r\n") + "\r\n";
}

function view(table) {
  byId("sheet").hidden = !table;
  byId("groups").hidden = table;
  byId("as-table").setAttribute("aria-pressed", String(table));
  byId("as-gallery").setAttribute("aria-pressed", String(!table));
}

export function startMany() {
  byId("many-format").replaceChildren(...facts.formats.map(({ name, title }) => create("option", { value: name, selected: name === facts.answering }, title)));
  byId("many-format").addEventListener("change", () => { if (batch.files.length) nameAll(batch.files); });
  onChosen(byId("photos"), nameAll);
  byId("as-table").addEventListener("click", () => view(true));
  byId("as-gallery").addEventListener("click", () => view(false));
  byId("csv").addEventListener("click", () => save(new Blob(["\ufeff", csv(batch)], { type: "text/csv" }), "answers.csv"));
}
