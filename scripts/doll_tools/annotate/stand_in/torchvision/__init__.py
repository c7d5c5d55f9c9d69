"""Stands in for torchvision where that does not load beside a CPU build of torch; see ``start.py``."""
