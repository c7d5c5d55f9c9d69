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

from doll_monai.utils.atomic import write_atomic
from doll_monai.utils.errors import InputError
from doll_monai.utils.folder_lock import lock_folder
from doll_monai.utils.mlflow_tags import NOTE, TRAINING
from doll_tools.pipeline.record import duration
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
        tracking_uri: another MLflow store than ``mlruns.db``; one that is no SQLite file keeps the artifacts itself.
        quiet: stages show no progress.
    """

    def __init__(self, output: Path, mlruns: Path, tracking_uri: str | None = None, quiet: bool = False) -> None:
        self.output, self.mlruns, self.quiet = output, mlruns, quiet
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
            parent, records = self._parent_run(description), []
            for number, stage in enumerate(stages, start=1):
                try:
                    record = self._run_stage(
                        stage, parent, f"[{number}/{len(stages)}] {stage.name}", stages[number - 1 :]
                    )
                    if after is not None:
                        after(stage, record)
                except BaseException as error:
                    self._give_up(stage, parent, "FAILED" if isinstance(error, Exception) else "KILLED")
                    raise
                records.append(record)
            self.client.set_terminated(parent, FINISHED)
            return records

    def is_done(self, stage: Stage) -> bool:
        """Whether a stage was run with the same command and inputs and its outputs are there."""
        state = self._state(stage.name)
        same = bool(state.get("done")) and state.get("fingerprint") == stage.fingerprint()
        return same and all(path.exists() for path in stage.outputs)

    def log_metrics(self, metrics: dict[str, float], artifacts: Sequence[Path], description: str | None = None) -> None:
        """Put the final figures and files into the parent run, and another description if there is one."""
        parent = self._state("pipeline")["run_id"]
        if description is not None:
            self.client.set_tag(parent, NOTE, description)
        for name, value in metrics.items():
            self.client.log_metric(parent, name, value)
        for path in artifacts:
            self.client.log_artifact(parent, str(path))

    def _run_stage(self, stage: Stage, parent: str, title: str, rest: Sequence[Stage]) -> dict[str, Any]:
        if self.is_done(stage):
            print(f"{title}: done before, its inputs have not changed.", flush=True)
            return self._record(stage)
        state, fingerprint = self._state(stage.name), stage.fingerprint()
        if state.get("fingerprint") != fingerprint:
            shutil.rmtree(stage.folder, ignore_errors=True)
            state = {"fingerprint": fingerprint, "seconds": 0.0}
        self._track(stage, state, parent)
        state["command"] = stage.shell()
        self._write_state(stage.name, state)
        known = [later.seconds for later in rest if later.seconds is not None]
        left = f": about {duration(sum(known))} left in all" if len(known) == len(rest) else ""
        print(f"{title}{left}\n  {stage.shell()}", flush=True)
        started = time.monotonic()
        try:
            self._execute(stage)
        finally:
            state["seconds"] = round(state["seconds"] + time.monotonic() - started, 1)
            self._write_state(stage.name, state)
        self._write_state(stage.name, {**state, "done": True})
        if state.get("run_id"):
            self.client.set_terminated(state["run_id"], FINISHED)
        return self._record(stage)

    def _give_up(self, stage: Stage, parent: str, status: str) -> None:
        """Say in MLflow that the stage and the pipeline did not come to their end."""
        for run_id in (self._state(stage.name).get("run_id"), parent):
            if run_id is not None and self._run_exists(run_id):
                self.client.set_terminated(run_id, status)

    def _execute(self, stage: Stage) -> None:
        """Run the command; what it says goes to ``logs/NAME.log``, its standard error to the terminal as well."""
        log = self.output / "logs" / f"{stage.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [*stage.command, *stage.tracked]
        command[0] = sys.executable if command[0] == "python" else command[0]
        last = ""
        with open(log, "ab") as stream:
            process = subprocess.Popen(
                command,
                stdout=stream,
                stderr=subprocess.PIPE,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **({"TQDM_DISABLE": "1"} if self.quiet else {})},
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
            try:
                for line in process.stderr or ():
                    stream.write(line)
                    stream.flush()
                    sys.stderr.write(line.decode(errors="replace"))
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
        run_id = self._state("pipeline").get("run_id")
        if run_id is not None and self._run_exists(run_id):
            self.client.update_run(run_id, status="RUNNING")
            self.client.set_tag(run_id, NOTE, description)
            return str(run_id)
        run = self.client.create_run(self._experiment("pipeline"), run_name=self.output.name, tags={NOTE: description})
        self._write_state("pipeline", {"run_id": run.info.run_id})
        return run.info.run_id

    def _track(self, stage: Stage, state: dict[str, Any], parent: str) -> None:
        """Make the stage's run in MLflow, below the parent's, and tell MONAI's handler to use it."""
        if stage.bundle is None:
            return
        experiment = stage.bundle.name
        name = f"{stage.name}_{self.output.name}_{parent[:6]}_{state['fingerprint'][:6]}"
        if "run_id" not in state or not self._run_exists(state["run_id"]):
            tags = {"mlflow.parentRunId": parent}
            run = self.client.create_run(self._experiment(experiment), run_name=name, tags=tags)
            state["run_id"] = run.info.run_id
        else:
            self.client.update_run(state["run_id"], status="RUNNING")
        stage.tracked = ["--tracking", str(stage.bundle / "configs" / "mlflow.json")]
        stage.tracked += ["--tracking_uri", self.tracking_uri, "--experiment_name", experiment, "--run_name", name]
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

    def _record(self, stage: Stage) -> dict[str, Any]:
        state = self._state(stage.name)
        return {
            "name": stage.name,
            "command": state["command"],
            "seconds": state["seconds"],
            "experiment": stage.bundle.name if stage.bundle else None,
            "run_id": state.get("run_id"),
        }

    def _state(self, name: str) -> dict[str, Any]:
        path = self.output / ".stages" / f"{name}.json"
        content: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
        return content

    def _write_state(self, name: str, state: dict[str, Any]) -> None:
        write_atomic(self.output / ".stages" / f"{name}.json", (json.dumps(state, indent=2) + "\n").encode())


def _die_with_parent() -> None:
    """End a stage when the pipeline is killed, so that a new one does not find it at work."""
    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
