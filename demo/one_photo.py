"""The tab for one photograph. What moves on it is in `web/one.js`; this is what stands still."""

import gradio as gr

from demo import gallery
from demo.comparison import Comparison

PAGE = """
<div id="one">
<div class="given">
  <div class="tools">
    <button id="live" class="big" type="button">Live camera</button>
    <label class="big primary">Choose a photo<input id="photo" type="file" accept="image/*"></label>
    <label class="stay"><input id="private" type="checkbox"> Keep photos on this device</label>
  </div>
  <div id="stage">
    <div id="frame" hidden>
      <img id="shown" alt="The photo that is being named">
      <img id="map" alt="" hidden>
      <video id="video" muted playsinline hidden aria-label="What your camera sees"></video>
      <div id="crop" hidden><span>seen by the network</span></div>
    </div>
    <div id="overlay" hidden><strong></strong><span></span></div>
    <p id="empty">Choose a photo or tap an example. You can also drop or paste one.</p>
  </div>
  <div class="look"><label for="look">Where it looked</label>
    <input id="look" type="range" min="0" max="100" value="0" disabled>
    <output id="looked" for="look"></output></div>
  <div class="tries"><ul id="examples" tabindex="0" aria-label="Photos to try"></ul>
  <p id="missing" role="status"></p>
  <p id="credits"></p></div>
</div>
<div class="told">
  <section id="answer" class="card" aria-labelledby="name">
    <p id="status" role="status"></p>
    <div aria-live="polite" id="said"><h2 id="name">&nbsp;</h2><p id="sure"></p></div>
    <ol id="bars" aria-label="How the answer is spread"></ol><p id="why"></p>
  </section>
  <section id="formats" class="card" aria-labelledby="formats-title">
    <div class="head"><h2 id="formats-title">Same photo, other formats</h2>
      <button id="compare" type="button">Compare formats and speed</button></div>
    <table><thead><tr><th scope="col">Format</th><th scope="col">Answer</th>
      <th scope="col" class="number"><abbr title="milliseconds: median, 95th percentile">ms (p95)</abbr></th>
      <th scope="col" class="number">MB</th><th scope="col" class="bar"><span class="unseen">Time</span></th>
      </tr></thead><tbody></tbody></table>
    <p id="speed"></p>
    <p id="here-note"></p>
  </section>
</div>
</div>
"""


def build(comparison: Comparison, local: bool) -> None:
    """Places the tab's content; `local` as for the page."""
    gr.HTML(PAGE, apply_default_css=False, padding=False)
    gallery.build(comparison.bundle.manifest, local)
