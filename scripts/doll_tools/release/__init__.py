"""What is passed on: bundles with their weights, finished labels, a committee of classifiers."""
