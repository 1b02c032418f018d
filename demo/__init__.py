"""The Gradio demo: a photo in, the answers and latencies of several runtimes side by side out."""
