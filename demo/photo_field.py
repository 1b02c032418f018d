"""The page's field for a photograph. (Gradio writes a .pyi file beside every component that is defined.)"""

import gradio as gr
from gradio.data_classes import ImageData


class PhotoField(gr.Image):
    """An image field that hands over the file as it was uploaded; reading it is our loader's business.

    Gradio's own field opens the file first, so a text file would end in an error of Pillow's.
    """

    is_template = True  # tells Gradio's front end to draw it as a plain Image

    def preprocess(self, payload: ImageData | None) -> str | None:
        """Path of the uploaded file; a picture sent inside the request is stored by Gradio first."""
        return payload.path if payload is not None and payload.path else super().preprocess(payload)
