"""Files that try to break the reading of photos, and what tries them."""
