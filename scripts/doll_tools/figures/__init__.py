"""Figures of the kinds that the paper has, drawn from our own runs; nothing of the paper is copied."""
