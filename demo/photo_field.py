"""The API's fields for photographs.

Gradio's own field opens the file before a handler is called. This one hands over the path that `demo.inputs`
has admitted; reading it is our loader's business.
"""

from typing import Any

import gradio as gr
from gradio.data_classes import ImageData


class PhotoField(gr.Image):
    """A field for one photograph."""

    is_template = True  # tells Gradio's front end to draw it as a plain Image

    def preprocess(self, payload: ImageData | None) -> str | None:
        """Path of the uploaded file."""
        return payload.path if payload is not None else None

    def api_info(self) -> dict[str, Any]:
        """The field's description; Gradio's own promises that a URL is fetched."""
        info = super().api_info()
        info["properties"]["path"]["description"] = "Path that the upload returned"
        info["properties"]["url"]["description"] = "Or the photograph as a data URL in base64"
        info["additional_description"] = "A file; over plain HTTP, the path that its upload returned."
        return info

    def example_payload(self) -> dict[str, Any]:
        """What the API's page shows as an example; Gradio's own names a URL, and none is fetched here."""
        name = "flower.jpg"
        return {"path": name, "url": name, "orig_name": name, "meta": {"_type": "gradio.FileData"}}


class LessonField(gr.JSON):
    """A field for the classes of a lesson with their photographs, in the form of `demo.lessons.admitted`."""

    is_template = True
