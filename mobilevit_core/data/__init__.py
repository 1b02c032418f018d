"""Labelled photos, splits, curation."""
