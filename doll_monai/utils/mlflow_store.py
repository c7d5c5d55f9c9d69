"""MLflow's store: opened with a sentence where it cannot be used, and the tags that its pages know."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Experiment, LifecycleStage

from doll_monai.utils.errors import InputError

SQLITE = "sqlite:///"
NOTE = "mlflow.note.content"
"""A run's description."""
TRAINING = {"mlflow.experimentKind": "custom_model_development"}
"""Of an experiment: its page shows trainings, not the evaluations of language models."""


def open_store(uri: str) -> MlflowClient:
    """A client of a store that answers; runs and registered models are both there, whatever the environment says.

    Raises:
        InputError: for a folder, a file that is no database, one of another version or program, or a server that does
            not answer.
    """
    if "://" not in uri or uri.startswith("file:"):
        raise InputError(f"MLflow keeps no runs in a folder ({uri}); give --tracking_uri sqlite:///FOLDER/mlruns.db.")
    try:
        path = Path(uri.removeprefix(SQLITE))
        if uri.startswith(SQLITE) and path.is_file():
            with closing(sqlite3.connect(path)) as database:
                tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if tables and "alembic_version" not in tables:
                raise InputError(f"The database {path} is not MLflow's; give another --tracking_uri.")
        client = MlflowClient(uri, uri)
        client.search_experiments(max_results=1)
    except InputError:
        raise
    except Exception as error:  # MLflow's own, SQLAlchemy's, those of a driver
        if "database schema" in str(error):
            raise InputError(
                f"The database {uri} is of another version of MLflow; give another --tracking_uri, or copy the file "
                f"and run: mlflow db upgrade {uri}"
            ) from error
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"MLflow cannot use {uri} ({reason}); give another --tracking_uri.") from error
    return client


def find_experiment(client: MlflowClient, name: str) -> Experiment | None:
    """The experiment of a name, None when there is none; ``InputError`` when it was deleted, as its name is taken."""
    known = client.get_experiment_by_name(name)
    if known is not None and known.lifecycle_stage == LifecycleStage.DELETED:
        raise InputError(
            f"The MLflow experiment {name} in {client.tracking_uri} was deleted; restore it: MLFLOW_TRACKING_URI="
            f"{client.tracking_uri} mlflow experiments restore --experiment-id {known.experiment_id}"
        )
    return known
