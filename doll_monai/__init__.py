"""Diagnosis-oriented localization labels (DoLL): explanations of classifiers as segmentation training data."""

__version__ = "0.1.0"
