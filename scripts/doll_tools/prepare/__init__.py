"""Data sets on disk as datalists."""
