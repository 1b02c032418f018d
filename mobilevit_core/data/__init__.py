"""Labelled photographs, splits, curation."""
