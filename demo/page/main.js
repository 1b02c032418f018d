// Starts the page: what it is about, its tabs, and what can be dropped or pasted anywhere on it.

import { byId, connectPrivate, facts, here, loadFacts, onChosen, onDropped, sentence, tell } from "./base.js";
import { startGood } from "./good.js";
import { isBusy, nameAll, startMany } from "./many.js";
import { fromVisitor, leaveOne, privacyChanged, startOne } from "./one.js";

const tabs = [...document.querySelectorAll("[role=tab]")];
const panelOf = (tab) => byId(tab.getAttribute("aria-controls"));
const TAUGHT = "#taught="; // begins a link to something taught, which the tab Teach it opens
const wanted = () => (location.hash.startsWith(TAUGHT) ? "teach" : location.hash.slice(1));
const shownTabs = () => tabs.filter((tab) => !tab.hidden);

/** Shows a tab; its name stands in the address, so that Back and Reload find it again. */
export function choose(id, focus = false) {
  const chosen = shownTabs().find((tab) => panelOf(tab).id === id) ?? tabs[0];
  for (const tab of tabs) {
    tab.setAttribute("aria-selected", String(tab === chosen));
    tab.tabIndex = tab === chosen ? 0 : -1;
    const left = tab !== chosen && !panelOf(tab).hidden;
    panelOf(tab).hidden = tab !== chosen;
    if (left) panelOf(tab).dispatchEvent(new Event("left"));
  }
  panelOf(chosen).dispatchEvent(new Event("entered"));
  if (focus) chosen.focus();
  const hash = `#${panelOf(chosen).id}`;
  if (location.hash.startsWith(TAUGHT) && hash === "#teach") return; // it can be reloaded and passed on
  if (location.hash !== hash && (location.hash || chosen !== tabs[0])) history.pushState(null, "", hash);
}

function connectTabs() {
  for (const tab of tabs) {
    tab.addEventListener("click", () => choose(panelOf(tab).id));
    tab.addEventListener("keydown", ({ key }) => {
      const shown = shownTabs(), place = shown.indexOf(tab);
      const to = { ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: shown.length - 1 }[key];
      if (to !== undefined) choose(panelOf(shown[(to + shown.length) % shown.length]).id, true);
    });
  }
  addEventListener("popstate", () => choose(wanted()));
  byId("one").addEventListener("left", leaveOne);
  addEventListener("beforeunload", (event) => { if (isBusy()) event.preventDefault(); });
}

/** One photo goes to One photo, several to Many photos. */
export function give(files) {
  const many = files.length > 1 || !byId("many").hidden;
  choose(many ? "many" : "one");
  if (many) nameAll(files);
  else fromVisitor(files[0]);
}

function connectDrops() {
  const body = document.body;
  const lit = (on) => body.classList.toggle("dropping", on);
  addEventListener("dragover", ({ dataTransfer }) => { if (dataTransfer.types.includes("Files")) lit(true); });
  addEventListener("dragleave", ({ relatedTarget }) => { if (!relatedTarget) lit(false); });
  addEventListener("drop", () => lit(false));
  onDropped(window, give);
  addEventListener("paste", ({ clipboardData, target }) => {
    if (!byId("teach").hidden || target.matches?.("input[type=text]")) return;
    const files = [...(clipboardData?.files ?? [])].filter(({ type }) => type.startsWith("image/"));
    const text = clipboardData?.getData("text") ?? "";
    if (files.length) give(files);
    else if (/^https?:/.test(text)) tell("This page fetches nothing from other sites. Copy the picture itself (right click, Copy image) and paste that.");
  });
}

function showPrograms() {
  if (!facts.server) return;
  const address = here(".").href;
  byId("snippet").textContent = [
    "from gradio_client import Client, handle_file", "",
    `client = Client("${address}")`, 'client.predict(handle_file("photo.jpg"), api_name="/classify")',
  ].join("\n");
  byId("mcp").textContent = `${address}gradio_api/mcp/`;
  byId("programs").hidden = false;
}

/** "Teach it" is loaded when it is first shown. */
function connectTeach() {
  let loading = null;
  const load = () => (loading ??= import("./teach.js").then((module) => {
    module.startTeach(byId("teach"));
    return module;
  }));
  const enter = () => load().then(({ openLink }) => openLink(location.hash)).catch(() => {
    loading = null;
    tell("This part of the page can't be reached. Try again in a moment.");
  });
  byId("teach").addEventListener("entered", enter);
  addEventListener("hashchange", () => { if (location.hash.startsWith(TAUGHT)) choose("teach"); });
  byId("tab-teach").hidden = false;
}

async function start() {
  byId("starting").remove();
  byId("app").hidden = false;
  await loadFacts();
  connectPrivate(privacyChanged);
  connectTabs();
  connectDrops();
  showPrograms();
  startMany();
  startGood();
  if (facts.teaches) connectTeach();
  if (location.hash) choose(wanted());
  onChosen(byId("photo"), give);
  navigator.serviceWorker?.register(here("sw.js")).catch(() => {}); // without it, nothing stays for the next visit
  await startOne();
}

start().catch((error) => tell(sentence(error)));
