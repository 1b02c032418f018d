"""Starts the demo: `python app.py`, or as a Hugging Face Space."""

import atexit
import gc
import os
import signal
import sys


def end(code: int) -> None:
    """Ends at once, the uploads deleted: Python itself may crash over a thread that imports TensorFlow."""
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: end(0))
    signal.signal(signal.SIGINT, lambda *_: end(130))

from demo.reach import directly  # noqa: E402

gc.disable()  # what an import makes stays: to look for garbage in it takes a sixth of the start
with directly():  # importing Gradio makes HTTP clients
    from demo.server import main
gc.freeze()
gc.enable()

if __name__ == "__main__":
    sys.exit(main())
