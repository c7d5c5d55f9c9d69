"""A drawn chest phantom in CheXpert's own layout, for demonstrations and tests without patient data.

The images are sums of schematic attenuation, not radiographs: **numbers measured on them say nothing about patients.**
What they give is a data set with the habits of CheXpert (Irvin et al. 2019; its folders, CSV files, uncertain and
unmentioned labels) whose ground truth is exact to the pixel.
"""
