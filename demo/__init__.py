"""The Gradio demo: a photograph in, the answers and latencies of several runtimes side by side out."""
