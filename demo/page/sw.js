// What was loaded once stays for the next visit, also without a network. Photos and answers are never kept.

const CACHE = "page";
const KEPT = /\.wasm\.gz|[?&]sha256=/; // the same address always has the same bytes
const NEVER = /\/gradio_api\/|\/config$/;

addEventListener("install", () => skipWaiting());
addEventListener("activate", (event) => event.waitUntil(clients.claim()));
addEventListener("fetch", (event) => {
  const { method, url } = event.request, { origin, pathname } = new URL(url);
  if (method !== "GET" || origin !== location.origin || NEVER.test(pathname)) return;
  event.respondWith(KEPT.test(url) ? keptFirst(event.request) : networkFirst(event.request));
});

async function keptFirst(request) {
  return (await (await caches.open(CACHE)).match(request)) ?? networkFirst(request);
}

async function networkFirst(request) {
  const cache = await caches.open(CACHE);
  try {
    const response = await fetch(request);
    if (response.status === 200) await keep(cache, request, response.clone());
    return response;
  } catch (error) {
    const kept = await cache.match(request);
    if (kept) return kept;
    throw error;
  }
}

/** Keeps an answer; older weights of the same file go. */
async function keep(cache, request, response) {
  const { pathname } = new URL(request.url);
  for (const other of await cache.keys()) {
    if (new URL(other.url).pathname === pathname && other.url !== request.url) await cache.delete(other);
  }
  await cache.put(request, response).catch(() => {}); // no room: it is loaded again next time
}
