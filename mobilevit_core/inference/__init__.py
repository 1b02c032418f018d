"""Running and timing a bundle."""
