"""A MONAI Label app that serves the bundles to annotators; see ``docs/annotate.md``."""
