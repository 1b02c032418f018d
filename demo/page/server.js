// The page asks its own API, as any program would.

import { here, reach, sleep, Told } from "./base.js";

const PATIENCE = 150; // tries while every place is taken

/** Sends a file; returns the reference for calls. */
export async function upload(file) {
  const form = new FormData();
  form.append("files", file, file.name || "photo.jpg");
  const response = await reach("gradio_api/upload", { method: "POST", body: form });
  if (!response.ok) throw new Told(await reason(response));
  return { path: (await response.json())[0], orig_name: file.name || "photo.jpg" };
}

async function reason(response) {
  const text = await response.text();
  try {
    const { error, detail } = JSON.parse(text);
    return error ?? detail ?? text;
  } catch {
    return text.slice(0, 300) || `The server answered with ${response.status}.`;
  }
}

/** Begins a call of the API; the stream of its events. A full server is asked again. */
async function begin(name, data, waiting = () => {}) {
  let joined;
  for (let attempt = 0; ; attempt++) {
    joined = await reach(`gradio_api/call/${name}`, {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ data }),
    });
    if (joined.status !== 503 || attempt === PATIENCE) break;
    waiting(true);
    await sleep(1500 + 1000 * Math.random());
  }
  waiting(false);
  if (!joined.ok) throw new Told(await reason(joined));
  const { event_id } = await joined.json();
  return reach(`gradio_api/call/${name}/${event_id}`);
}

/** What an event of a call brought: its list of results. */
function resultOf(event) {
  const [kind, content] = event.split("\n");
  const result = JSON.parse((content ?? "").slice("data: ".length) || "null");
  if (kind === "event: complete" || kind === "event: generating") return result;
  throw new Told(result?.error ?? "The server gave no answer. Try again in a moment.");
}

/** One call of the API: its list of results. */
export async function call(name, data, waiting) {
  const response = await begin(name, data, waiting);
  return resultOf((await response.text()).trim().split("\n\n").at(-1));
}

/** Where the server keeps a file that a call returned. */
export const addressOf = ({ path }) => here(`gradio_api/file=${path}`);
