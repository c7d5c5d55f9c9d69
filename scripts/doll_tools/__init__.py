"""Programs around the bundles: one command, ``doll``."""
