"""Tags by which MLflow's pages know what they show."""

NOTE = "mlflow.note.content"
"""A run's description."""
TRAINING = {"mlflow.experimentKind": "custom_model_development"}
"""Of an experiment: its page shows trainings, not the evaluations of language models."""
