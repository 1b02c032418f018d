"""Starts the demo: `python app.py`, or as a Hugging Face Space."""

import sys

from demo.reach import directly

with directly():  # importing Gradio makes HTTP clients
    from demo.server import main

if __name__ == "__main__":
    sys.exit(main())
