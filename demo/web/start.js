// Gradio puts a tab's content into the page when it is first shown; then its script begins.
(() => {
  const parts = { one: startOne, many: startMany, teach: startTeach };
  const begin = () => {
    for (const [id, start] of Object.entries(parts)) {
      const place = byId(id);
      if (!place || place.dataset.started) continue;
      place.dataset.started = "yes";
      start().catch((error) => { if (byId("sure")) showProblem(sentence(error)); });
    }
  };
  begin(); // a page without a server is complete when this is read
  new MutationObserver(begin).observe(document.documentElement, { childList: true, subtree: true });
})();
