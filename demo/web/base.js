// What every script of the page uses.

const byId = (id) => document.getElementById(id);
const here = (path) => new URL(path, document.baseURI);
const sleep = (milliseconds) => new Promise((wake) => setTimeout(wake, milliseconds));

/** What went wrong, in a sentence that people can read. */
class Told extends Error {}
const sentence = (error) => (error instanceof Told ? error.message : String(error));

async function reach(path, options) {
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

const percent = (share) => (share > 0.995 ? ">\u00a099\u00a0%" : share > 0 && share < 0.005 ? "<\u00a01\u00a0%" : `${Math.round(share * 100)}\u00a0%`);

function create(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}
