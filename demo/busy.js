// A visitor who finds the queue full is told so, and the page asks again by itself.
(() => {
  const ask = window.fetch, PATIENCE = 150;
  const note = (shown) => {
    let element = document.getElementById("busy");
    if (!element) {
      element = Object.assign(document.createElement("div"), { id: "busy", role: "status" });
      element.textContent = "Many visitors are measuring right now. The page tries again by itself.";
      document.body.append(element);
    }
    element.hidden = !shown;
  };
  window.fetch = async (input, options) => {
    const address = String(input?.url ?? input);
    for (let attempt = 0; ; attempt++) {
      const response = await ask(input, options);
      if (response.status !== 503 || !address.includes("/queue/join") || attempt === PATIENCE) {
        if (attempt) note(false);
        return response;
      }
      note(true);
      await new Promise((wake) => setTimeout(wake, 1500 + 1000 * Math.random()));
    }
  };
})();
