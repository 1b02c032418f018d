"""From Keras to other formats."""
