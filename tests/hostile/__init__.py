"""Files that try to break the reading of photographs, and what tries them."""
