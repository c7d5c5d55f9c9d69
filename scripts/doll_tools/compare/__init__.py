"""The instrument: what a few annotated images bring, from every start and with every tuning, measured alike.

Nothing is imported here, so that a cell's scoring starts quickly.
"""
