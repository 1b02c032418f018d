// The table "Same photo, other formats"; the visitor's browser is its last row.

const rows = new Map(); // format, or "here" -> cells

function drawFormats() {
  const body = byId("formats").querySelector("tbody");
  for (const { name, title, size_bytes } of facts.formats) body.append(row(name, create("span", {}, title), size_bytes));
  if (!facts.server) {
    document.querySelector(".stay").replaceChildren("Photos stay on this device.");
    drawRecorded(body);
  } else if (facts.device.length) {
    const choice = create("select", { id: "here-format", "aria-label": "Format that your browser runs" });
    for (const { name, title } of facts.formats.filter(({ name }) => facts.device.includes(name))) {
      choice.append(create("option", { value: name, selected: name === facts.device_first }, title));
    }
    body.append(row("here", create("span", {}, "Your browser ", choice)));
    const button = create("button", { type: "button", id: "run-here" }, "Run it here, privately");
    rows.get("here").answer.append(button);
  } else {
    byId("live").hidden = true;
    document.querySelector(".stay").hidden = true;
  }
}

/** What a page without a server can't measure itself. */
function drawRecorded(body) {
  if (!facts.recorded) return;
  const { where, rows: lines } = facts.recorded;
  const said = `Recorded on a server when the weights were made (${where}), not on this device:`;
  const head = create("tr", { class: "recorded" }, create("th", { scope: "rowgroup", colspan: 5 }, said));
  const group = create("tbody", { id: "recorded" }, head, ...lines.map(({ title, p50, p95, size_bytes }) =>
    create("tr", {}, create("th", { scope: "row" }, title), create("td", { class: "said" }),
      create("td", { class: "number" }, p50.toFixed(1), create("small", {}, ` (${p95.toFixed(1)})`)),
      create("td", { class: "number" }, (size_bytes / 1e6).toFixed(2)), create("td", { class: "bar" }))));
  body.after(group);
}

function row(name, title, size) {
  const cells = {
    answer: create("td", { class: "said" }),
    time: create("td", { class: "number" }),
    size: create("td", { class: "number" }, size ? (size / 1e6).toFixed(2) : ""),
    bar: create("td", { class: "bar" }),
  };
  const line = create("tr", { "data-format": name }, create("th", { scope: "row" }, title), ...Object.values(cells));
  rows.set(name, { ...cells, p50: null });
  return line;
}

/** One format's answer and time; `answer` is what the API calls an answer. */
function showRow(name, answer) {
  const cells = rows.get(name);
  const said = answer.unknown ? "None of these" : facts.display[answer.label];
  if (name === "here") {
    byId("run-here").textContent = "Run again";
    cells.answer.querySelector("span")?.remove();
    cells.answer.prepend(create("span", {}, said));
    cells.size.textContent = (answer.size_bytes / 1e6).toFixed(2);
  } else {
    cells.answer.textContent = said;
  }
  const { p50, p95 } = answer.latency_ms;
  cells.time.replaceChildren(p50.toFixed(1), create("small", {}, ` (${p95.toFixed(1)})`));
  cells.p50 = p50;
  drawBars();
}

function drawBars() {
  const most = Math.max(...[...rows.values()].map((cells) => cells.p50 ?? 0));
  for (const { bar, p50 } of rows.values()) {
    bar.replaceChildren(...(p50 ? [create("i", { style: `--share: ${(100 * p50) / most}%` })] : []));
  }
}

function clearRows() {
  for (const [name, cells] of rows) {
    cells.p50 = null;
    cells.time.textContent = "";
    if (name === "here") {
      cells.answer.querySelector("span")?.remove();
      byId("run-here").textContent = "Run it here, privately";
    } else {
      cells.answer.textContent = "";
    }
  }
  byId("speed").textContent = "";
  byId("here-note").textContent = "";
  drawBars();
}

const titleOf = (name) => facts.formats.find((format) => format.name === name).title;
const disjoint = (a, b) => a.latency_ms.p50_range[1] < b.latency_ms.p50_range[0] || b.latency_ms.p50_range[1] < a.latency_ms.p50_range[0];
const ratio = (value, more, less) => (value >= 1 ? `${value.toFixed(1)}x ${more}` : `${(1 / value).toFixed(1)}x ${less}`);

/** What the comparison comes to: sizes always, speed only where the medians can be told apart. */
function compared(answers) {
  const [first, ...others] = Object.keys(answers);
  const busy = Object.entries(answers).filter(([, { latency_ms: { p50, p95 } }]) => p95 > 2 * p50);
  const sentences = [];
  if (others.length) {
    const small = others.reduce((a, b) => (answers[a].size_bytes <= answers[b].size_bytes ? a : b));
    const [a, b] = [answers[first], answers[small]];
    const parts = [`${ratio(a.size_bytes / b.size_bytes, "smaller", "larger")} than ${titleOf(first)}`];
    if (disjoint(a, b) && !busy.length) parts.push(ratio(a.latency_ms.p50 / b.latency_ms.p50, "faster", "slower"));
    parts.push(a.label === b.label && a.unknown === b.unknown ? "same answer" : "another answer");
    sentences.push(`${titleOf(small)} is ${parts.join(", ")}.`);
  }
  sentences.push(busy.length ? busyNow() : facts.server ? `Measured in turns on this server (${facts.processor}).` : "Measured on this device, one after the other.");
  return sentences.join(" ");
}

function busyNow() {
  if (!facts.server) return "This device is busy right now, so these times say little.";
  const quiet = facts.formats.filter(({ quiet_ms: time }) => time !== null).map(({ title, quiet_ms: time }) => `${title} ${time.toFixed(1)} ms`);
  const figures = quiet.length ? ` On a quiet machine, the report measured: ${quiet.join(", ")}.` : "";
  return `The server is busy right now, so these times say little.${figures}`;
}
