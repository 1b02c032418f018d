"""Starts the demo: `python app.py`, or as a Hugging Face Space."""

import sys

from demo.serving import main

if __name__ == "__main__":
    sys.exit(main())
