"""The Gradio demo: a photograph in, the answers and latencies of several runtimes side by side out."""

from demo import quick_start

quick_start.prepare()  # here, because everything passes it before it imports Gradio
