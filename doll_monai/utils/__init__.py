"""Errors, processes, atomic files."""
