"""Starts the demo: `python app.py`, or as a Hugging Face Space."""

import sys

from demo.server import main

if __name__ == "__main__":
    sys.exit(main())
