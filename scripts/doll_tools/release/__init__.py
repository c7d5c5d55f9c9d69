"""A finished label folder as a data set that others can check and use."""

from doll_tools.release.package import package_labels

__all__ = ["package_labels"]
