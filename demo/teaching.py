"""The tab "Teach it". What moves on it is in `web/teach.js`; this is what stands still, and its functions."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route

from demo.lessons import ARCHIVE, FEWEST, FORM, IDLE_SECONDS, MOST, MOST_CLASSES, Lessons
from demo.photo_field import LessonField, PhotoField
from mobilevit_core.bundle.files import MANIFEST
from mobilevit_core.errors import UserError

PAGE = f"""
<div id="teach" data-fewest="{FEWEST}" data-most="{MOST}" data-classes="{MOST_CLASSES}">
  <p class="lead">Name 2 to {MOST_CLASSES} things, add {FEWEST} to {MOST} photos of each, and press Train.
  Call one \u201cnone of these\u201d and fill it with anything else, and it learns to say so.</p>
  <ol id="lesson" aria-label="Things to learn"></ol>
  <div class="tools">
    <button id="add-class" type="button">Add a class</button>
    <button id="shooting" type="button">Use the camera</button>
    <button id="train" class="big primary" type="button" disabled>Train</button>
  </div>
  <p id="teach-status" role="status"></p>
  <div id="lens" hidden><video muted playsinline aria-label="What your camera sees"></video>
    <p id="lens-said" hidden><strong></strong><span></span></p></div>
  <section id="taught" class="card" aria-labelledby="taught-title" hidden>
    <h2 id="taught-title"></h2>
    <p id="taught-how"></p>
    <ul id="untaught" class="unreadable"></ul>
    <div class="tools">
      <label class="big primary">Try a photo<input id="taught-photo" type="file" accept="image/*"></label>
      <button id="taught-live" class="big" type="button">Live camera</button>
      <a id="taught-zip" class="big" download>Download</a>
    </div>
    <div class="tried"><img id="taught-shown" alt="The photo that is being named" hidden>
      <div aria-live="polite"><p id="taught-name"></p><p id="taught-sure"></p>
        <ol class="bars"></ol></div></div>
  </section>
  <p class="soft">Photos are sent to the machine that serves this page and deleted there once they are
  learned. What it learned is deleted when you leave the page or don't use it for {IDLE_SECONDS // 60}
  minutes.</p>
</div>
"""


def routes(lessons: Lessons) -> list[BaseRoute]:
    """A lesson's files, and the way to have it removed; whoever knows its name may do both."""

    def send(request: Request) -> FileResponse:
        name = request.path_params["name"]
        try:
            lesson = lessons.find(request.path_params["token"])
        except UserError as error:
            raise HTTPException(404, str(error)) from None
        files = {
            entry.file: lesson.bundle.folder / entry.file for entry in lesson.bundle.manifest.files.values()
        }
        files |= {MANIFEST: lesson.bundle.folder / MANIFEST, ARCHIVE: lesson.folder / ARCHIVE}
        if name not in files:
            raise HTTPException(404)
        return FileResponse(files[name])

    def forget(request: Request) -> Response:
        lessons.forget(request.path_params["token"])
        return Response(status_code=204)

    return [
        Route("/taught/{token}/forget", forget, methods=["POST"]),
        Route("/taught/{token}/{name}", send),
    ]


def build(lessons: Lessons) -> None:
    """Places the tab's content and connects its functions, which only the page's own script calls."""
    gr.HTML(PAGE, apply_default_css=False, padding=False)
    with gr.Row(visible=False):
        classes, told = LessonField(label="classes"), gr.JSON(label="progress")
        token = gr.Textbox(label="token")
        photo = PhotoField(type="filepath", image_mode=None, label="photo")
        answer = gr.JSON(label="answer")
        train, try_ = gr.Button(), gr.Button()
    hidden: dict[str, Any] = {"api_visibility": "undocumented"}
    train.click(_teach(lessons), classes, told, api_name="teach", concurrency_limit=1, **hidden)
    try_.click(
        _try_taught(lessons), [token, photo], answer, api_name="try_taught", concurrency_limit=2, **hidden
    )


def _teach(lessons: Lessons) -> Callable[[Any], Iterator[dict[str, Any]]]:
    def teach(classes: list[dict[str, Any]] | None) -> Iterator[dict[str, Any]]:
        if classes is None:
            raise UserError(FORM)
        yield from lessons.teach(classes)

    return teach


def _try_taught(lessons: Lessons) -> Callable[[str | None, str | None], dict[str, Any]]:
    def try_taught(token: str | None, photo: str | None) -> dict[str, Any]:
        if photo is None:
            raise UserError("There is no photograph yet: upload one first.")
        return lessons.classify(token or "", Path(photo)).to_json()

    return try_taught
