"""The page and the figures of a finished pipeline, from the files in its folder and its MLflow runs."""
