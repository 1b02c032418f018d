// The page without a server: the same two functions as `call.js`, answered by the engine on the visitor's device.

const LOADING = "Loading the network onto this device, some 10 MB the first time ...";
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const followTheme = () => document.documentElement.classList.toggle("dark", prefersDark.matches);
prefersDark.addEventListener("change", followTheme);
followTheme();

let running = Promise.resolve(); // the engine holds one network: calls come one after the other
const idle = () => running;

/** Nothing is sent: the photo is its own reference. */
const upload = async (file) => file;

async function call(name, data) {
  const work = running.then(() => FUNCTIONS[name](...data));
  running = work.catch(() => {});
  try {
    return [await work];
  } catch (error) {
    throw new Told(deviceProblem(error));
  }
}

const FUNCTIONS = {
  async classify(photo, format) {
    return (await loaded(format ?? facts.answering)).classify(photo);
  },

  async compare(photo, _, formats) {
    const mine = turn, answers = {};
    for (const format of formats) {
      if (mine !== turn) break; // another photo: it should not wait
      answers[format] = await (await loaded(format)).answer(photo);
      if (mine === turn) showRow(format, answers[format]);
    }
    return answers;
  },
};

/** The engine with one format's weights. */
async function loaded(format) {
  if (camera) {
    newTurn();
    stopLive();
  }
  const first = !hidden;
  if (first) say(LOADING);
  try {
    const device = await engine();
    await device.load(format);
    byId("here-note").textContent = `Photos stay on this device. ${device.engine}, ${device.source}.`;
    return device;
  } finally {
    if (first) say("");
  }
}

/** Tabs as the keyboard expects them. */
function connectTabs() {
  const tabs = [...document.querySelectorAll("[role=tab]")];
  const choose = (chosen, focus) => {
    for (const tab of tabs) {
      tab.setAttribute("aria-selected", String(tab === chosen));
      tab.tabIndex = tab === chosen ? 0 : -1;
      byId(tab.getAttribute("aria-controls")).hidden = tab !== chosen;
    }
    if (focus) chosen.focus();
  };
  tabs.forEach((tab, place) => {
    tab.addEventListener("click", () => choose(tab));
    tab.addEventListener("keydown", ({ key }) => {
      const to = { ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: tabs.length - 1 }[key];
      if (to !== undefined) choose(tabs[(to + tabs.length) % tabs.length], true);
    });
  });
}
document.addEventListener("DOMContentLoaded", connectTabs);
