"""When does pre-training pay? Its gain on the phantom, against the quality of its labels and the number of its films.

Nothing is imported here, so that the programs start quickly.
"""
