"""Networks in plain Keras."""
