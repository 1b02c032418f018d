// What every script of the page uses.

export const byId = (id) => document.getElementById(id);
export const here = (path) => new URL(path, document.baseURI);
export const sleep = (milliseconds) => new Promise((wake) => setTimeout(wake, milliseconds));

/** What went wrong, in a sentence that people can read. */
export class Told extends Error {}
export const sentence = (error) => (error instanceof Told ? error.message : String(error?.message ?? error));

/** A sentence above the tabs' content; "" for none. */
export function tell(text) {
  byId("problem").textContent = text;
  byId("problem").hidden = !text;
}

export async function reach(path, options) {
  try {
    return await fetch(here(path), options);
  } catch {
    throw new Told(
      navigator.onLine
        ? "The server can't be reached. Try again in a moment."
        : "You are offline. Photos can still be named on this device once its files are loaded.",
    );
  }
}

export const percent = (share) => (share > 0.995 ? ">\u00a099\u00a0%" : share > 0 && share < 0.005 ? "<\u00a01\u00a0%" : `${Math.round(share * 100)}\u00a0%`);
/** A number with its noun: "1 photo", "2 photos". */
export const counted = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;
export const bytesOf = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
export const megabytes = (bytes) => (bytes / 1e6).toFixed(bytes < 1e5 ? 2 : 1);

/** An element; a `style` of custom properties is set one by one, as the page's policy wants it. */
export function create(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "style") for (const [key, text] of Object.entries(value)) element.style.setProperty(key, text);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** The browser's "local" or "session" storage; null where the visitor allows none. */
export function storage(kind) {
  try {
    return window[`${kind}Storage`];
  } catch {
    return null;
  }
}

/** Files that are chosen in a field go to `take`. */
export function onChosen(field, take) {
  field.addEventListener("change", () => {
    const files = [...field.files];
    field.value = ""; // so that the same ones can be chosen again
    if (files.length) take(files);
  });
}

/** Files that are dropped on a place go to `take`, unless a place inside of it took them. */
export function onDropped(place, take) {
  place.addEventListener("dragover", (event) => { if (event.dataTransfer.types.includes("Files")) event.preventDefault(); });
  place.addEventListener("drop", (event) => {
    if (event.defaultPrevented) return;
    event.preventDefault();
    if (event.dataTransfer.files.length) take([...event.dataTransfer.files]);
  });
}

/** Hands the visitor a file. */
export function save(blob, name) {
  const url = URL.createObjectURL(blob);
  create("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

export let facts = null; // of the bundle: what demo/words.py says

export async function loadFacts() {
  const response = await reach("bundle/page.json");
  if (!response.ok) throw new Told("The page's own files are not there. Reload it in a moment.");
  facts = await response.json();
}

const KEPT = "keep-photos-here";

/** Whether photos stay on this device: always without a server, else as the visitor ticked it, in every tab. No engine, no switch. */
export const isPrivate = () => !facts.server || Boolean(byId("private")?.checked);

export function connectPrivate(changed) {
  const box = byId("private");
  if (!facts.server) {
    box.hidden = true;
    box.nextElementSibling.textContent = "Photos stay on this device";
    return;
  }
  if (!facts.device.length || !facts.engine) return box.parentElement.remove();
  box.checked = storage("local")?.getItem(KEPT) === "yes";
  addEventListener("storage", ({ key, newValue }) => { // it was ticked in another tab
    if (key !== KEPT || box.checked === (newValue === "yes")) return;
    box.checked = newValue === "yes";
    changed();
  });
  box.addEventListener("change", () => {
    storage("local")?.setItem(KEPT, box.checked ? "yes" : "no");
    changed();
  });
}
