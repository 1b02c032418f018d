"""The artefact on disk and its manifest."""
