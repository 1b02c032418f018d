"""Starts the demo: `python app.py`, or as a Hugging Face Space."""

import gc
import sys

from demo.reach import directly

gc.disable()  # what an import makes stays: to look for garbage in it takes a sixth of the start
with directly():  # importing Gradio makes HTTP clients
    from demo.server import main
gc.freeze()
gc.enable()

if __name__ == "__main__":
    sys.exit(main())
