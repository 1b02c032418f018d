"""A file becomes the input tensor."""
