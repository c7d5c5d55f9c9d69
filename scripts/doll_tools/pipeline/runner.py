"""Runs stages one after the other, skips what is done, and continues what was interrupted."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from doll_monai.data.datalist import write_atomic
from doll_monai.utils.errors import InputError, switch
from doll_monai.utils.folder_lock import lock_folder
from doll_monai.utils.mlflow_tags import NOTE, TRAINING
from doll_tools.pipeline.description import duration
from doll_tools.pipeline.stages import Stage

FINISHED = "FINISHED"


class Runner:
    """Runs the stages of one output folder.

    What a stage did is kept in ``.stages/NAME.json``: the fingerprint of its command and inputs, whether it is done,
    and the seconds that it took over all attempts. A stage whose fingerprint changed starts in an empty folder; one
    that was interrupted finds its folder as it was.

    Args:
        output: the folder.
        mlruns: folder of the MLflow database ``mlruns.db`` and of the artifacts.
        tracking: MLflow settings for ``monai.bundle run --tracking``.
        tracking_uri: another MLflow store than ``mlruns.db``; one that is no SQLite file keeps the artifacts itself.
        quiet: stages show no progress.
    """

    def __init__(
        self, output: Path, mlruns: Path, tracking: Path, tracking_uri: str | None = None, quiet: bool | str = False
    ) -> None:
        self.output = output
        self.tracking = tracking
        self.quiet = quiet
        self.mlruns = mlruns
        self.tracking_uri = tracking_uri or f"sqlite:///{(mlruns / 'mlruns.db').absolute()}"
        mlruns.mkdir(parents=True, exist_ok=True)
        self.client = MlflowClient(self.tracking_uri)

    def run(
        self,
        stages: Sequence[Stage],
        description: str,
        after: Callable[[Stage, dict[str, Any]], None] | None = None,
    ) -> list[dict[str, Any]]:
        """Run what is not done.

        Args:
            stages: in their order.
            description: Markdown that MLflow shows with the parent run.
            after: called with each stage that is done, also where it was before, and its record.

        Returns:
            one record a stage: name, command, seconds, experiment, run_id.

        Raises:
            InputError: when a stage fails, one of its inputs is missing, or another pipeline works in the folder.
        """
        with lock_folder(self.output, "pipeline"):
            return self._run_all(stages, description, after)

    def is_done(self, stage: Stage) -> bool:
        """Whether a stage was run with the same command and inputs and its outputs are there."""
        return self._is_done(stage, stage.fingerprint())

    def _is_done(self, stage: Stage, fingerprint: str) -> bool:
        state = self._state(stage.name)
        same = state.get("fingerprint") == fingerprint and bool(state.get("done"))
        return same and all(path.exists() for path in stage.outputs)

    def _run_all(
        self, stages: Sequence[Stage], description: str, after: Callable[[Stage, dict[str, Any]], None] | None
    ) -> list[dict[str, Any]]:
        parent = self._parent_run(description)
        records = []
        pace = 1.0
        spent = expected = 0.0
        for number, stage in enumerate(stages, start=1):
            known = [later.seconds for later in stages[number - 1 :]]
            left = None if None in known else pace * sum(seconds or 0 for seconds in known)
            try:
                record = self._run_stage(stage, parent, f"[{number}/{len(stages)}] {stage.name}", left)
                skipped = record.pop("skipped")
                if after is not None:
                    after(stage, record)
            except BaseException as error:
                self._give_up(stage, parent, "FAILED" if isinstance(error, Exception) else "KILLED")
                raise
            if not skipped:
                spent += record["seconds"]
                expected += stage.seconds or 0
                pace = spent / max(expected, 1.0)
            records.append(record)
        self.client.set_terminated(parent, FINISHED)
        return records

    def log_metrics(self, metrics: dict[str, float], artifacts: Sequence[Path], description: str | None = None) -> None:
        """Put the final figures and files into the parent run, and another description if there is one."""
        parent = self._state("pipeline")["run_id"]
        if description is not None:
            self.client.set_tag(parent, NOTE, description)
        for name, value in metrics.items():
            self.client.log_metric(parent, name, value)
        for path in artifacts:
            self.client.log_artifact(parent, str(path))

    def _run_stage(self, stage: Stage, parent: str, title: str, left: float | None) -> dict[str, Any]:
        fingerprint = stage.fingerprint()
        state = self._state(stage.name)
        same = state.get("fingerprint") == fingerprint
        if self._is_done(stage, fingerprint):
            print(f"{title}: done before, its inputs have not changed.", flush=True)
            return {**self._record(stage, state), "skipped": True}
        if not same:
            shutil.rmtree(stage.folder, ignore_errors=True)
            state = {"fingerprint": fingerprint, "seconds": 0.0}
        self._track(stage, state, parent)
        state["command"] = stage.shell()
        self._write_state(stage.name, state)
        print(f"{title}{_minutes(left)}\n  {stage.shell()}", flush=True)
        started = time.monotonic()
        try:
            self._execute(stage)
        finally:
            state["seconds"] = round(state["seconds"] + time.monotonic() - started, 1)
            self._write_state(stage.name, state)
        state["done"] = True
        self._write_state(stage.name, state)
        if state.get("run_id"):
            self.client.set_terminated(state["run_id"], FINISHED)
        return {**self._record(stage, state), "skipped": False}

    def _give_up(self, stage: Stage, parent: str, status: str) -> None:
        """Say in MLflow that the stage and the pipeline did not come to their end."""
        for run_id in (self._state(stage.name).get("run_id"), parent):
            if run_id is not None and self._run_exists(run_id):
                self.client.set_terminated(run_id, status)

    def _execute(self, stage: Stage) -> None:
        """Run the command; its progress goes to the terminal, all it says to ``logs/NAME.log``."""
        log = self.output / "logs" / f"{stage.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [*stage.command, *stage.tracked]
        command[0] = sys.executable if command[0] == "python" else command[0]
        variables = {**os.environ, "PYTHONUNBUFFERED": "1", **({"TQDM_DISABLE": "1"} if switch(self.quiet, "quiet") else {})}
        last = ""
        with open(log, "ab") as stream:
            process = subprocess.Popen(
                command, stdout=stream, stderr=subprocess.PIPE, env=variables, preexec_fn=_die_with_parent
            )
            try:
                assert process.stderr is not None
                for line in process.stderr:
                    for target in (stream, sys.stderr.buffer):
                        target.write(line)
                        target.flush()
                    last = line.decode(errors="replace").strip() or last
                code = process.wait()
            except BaseException:
                process.terminate()
                process.wait()
                raise
        if code != 0:
            raise InputError(f"The stage {stage.name} failed: {last.removeprefix('Error: ')} (see {log})")
        missing = [path for path in stage.outputs if not path.exists()]
        if missing:
            raise InputError(f"The stage {stage.name} ended without writing {missing[0]} (see {log}).")

    def _parent_run(self, description: str) -> str:
        """The pipeline's own run in MLflow; a resumed pipeline takes it up again."""
        state = self._state("pipeline")
        experiment = self._experiment("pipeline")
        if "run_id" in state and self._run_exists(state["run_id"]):
            self.client.update_run(state["run_id"], status="RUNNING")
            self.client.set_tag(state["run_id"], NOTE, description)
            return str(state["run_id"])
        run = self.client.create_run(experiment, run_name=self.output.name, tags={NOTE: description})
        self._write_state("pipeline", {"run_id": run.info.run_id})
        return run.info.run_id

    def _track(self, stage: Stage, state: dict[str, Any], parent: str) -> None:
        """Make the stage's run in MLflow, below the parent's, and tell MONAI's handler to use it."""
        if stage.experiment is None:
            return
        experiment = self._experiment(stage.experiment)
        name = f"{stage.name}_{self.output.name}_{parent[:6]}_{state['fingerprint'][:6]}"
        if "run_id" not in state or not self._run_exists(state["run_id"]):
            tags = {"mlflow.parentRunId": parent}
            state["run_id"] = self.client.create_run(experiment, run_name=name, tags=tags).info.run_id
        else:
            self.client.update_run(state["run_id"], status="RUNNING")
        stage.tracked = ["--tracking", str(self.tracking), "--tracking_uri", self.tracking_uri]
        stage.tracked += ["--experiment_name", stage.experiment, "--run_name", name]
        stage.tracked += ["--save_execute_config", str(self.output / "configs" / "executed" / f"{stage.name}.json")]

    def _experiment(self, name: str) -> str:
        experiment = self.client.get_experiment_by_name(name)
        if experiment is not None:
            return experiment.experiment_id
        local = self.tracking_uri.startswith("sqlite:")
        folder = (self.mlruns / name).absolute().as_uri() if local else None
        return self.client.create_experiment(name, artifact_location=folder, tags=TRAINING)

    def _run_exists(self, run_id: str) -> bool:
        try:
            return self.client.get_run(run_id).info.lifecycle_stage == "active"
        except Exception:  # MLflow's exceptions differ by store
            return False

    def _record(self, stage: Stage, state: dict[str, Any]) -> dict[str, Any]:
        return {
            "name": stage.name,
            "command": state.get("command", stage.shell()),
            "seconds": state.get("seconds", 0.0),
            "experiment": stage.experiment,
            "run_id": state.get("run_id"),
        }

    def _state_path(self, name: str) -> Path:
        return self.output / ".stages" / f"{name}.json"

    def _state(self, name: str) -> dict[str, Any]:
        path = self._state_path(name)
        return json.loads(path.read_text()) if path.is_file() else {}

    def _write_state(self, name: str, state: dict[str, Any]) -> None:
        write_atomic(self._state_path(name), (json.dumps(state, indent=2) + "\n").encode())


def _die_with_parent() -> None:
    """On Linux, end a stage when the pipeline is killed, so that a new one does not find it at work."""
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


def _minutes(seconds: float | None) -> str:
    return "" if seconds is None else f": about {duration(seconds)} left in all"
