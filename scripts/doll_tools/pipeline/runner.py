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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException

from doll_monai.utils.atomic import write_atomic
from doll_monai.utils.errors import InputError
from doll_monai.utils.folder import lock_folder
from doll_monai.utils.mlflow_store import NOTE, TRAINING, find_experiment, open_store
from doll_tools.pipeline.stages import Stage

PIPELINE = "pipeline"
"""Name of the parent run's state and experiment, and of the lock."""


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
        # threads that wait by computing slow a stage down many times over where another process has one of their cores
        given = any(name in os.environ for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"))
        self._waiting = {} if given else {"OMP_WAIT_POLICY": "PASSIVE"}
        mlruns.mkdir(parents=True, exist_ok=True)
        self.client = open_store(self.tracking_uri)

    def run(
        self,
        stages: Sequence[Stage],
        description: str,
        after: Callable[[Stage, dict[str, Any]], None] | None = None,
    ) -> list[dict[str, Any]]:
        """Run what is not done.

        Args:
            description: Markdown that MLflow shows with the parent run.
            after: called with each stage that is done, also where it was before, and its record.

        Returns:
            one record a stage: name, command, seconds, experiment, run_id.

        Raises:
            InputError: when a stage fails, one of its inputs is missing, or another pipeline works in the folder.
        """
        with lock_folder(self.output, PIPELINE):
            for experiment in {stage.bundle.name for stage in stages if stage.bundle is not None}:
                find_experiment(self.client, experiment)
            if self._waiting:
                print("Stages run with OMP_WAIT_POLICY=PASSIVE, set another value to change that.", flush=True)
            parent = self._state(PIPELINE).get("run_id")
            parent = self._open_run(parent, PIPELINE, self.output.name, {NOTE: description})
            self._write_state(PIPELINE, {"run_id": parent})
            records = []
            for number, stage in enumerate(stages, start=1):
                try:
                    title = f"[{number}/{len(stages)}] {stage.name}"
                    records.append(self._run_stage(stage, parent, title))
                    if after is not None:
                        after(stage, records[-1])
                except BaseException as error:
                    for run_id in filter(None, (self._state(stage.name).get("run_id"), parent)):
                        if self._run_exists(run_id):
                            status = "FAILED" if isinstance(error, Exception) else "KILLED"
                            self.client.set_terminated(run_id, status)
                    raise
            self.client.set_terminated(parent)
            return records

    def is_done(self, stage: Stage) -> bool:
        """Whether a stage was run with the same command and inputs and its outputs are there."""
        state = self._state(stage.name)
        same = bool(state.get("done")) and state.get("fingerprint") == stage.fingerprint()
        return same and all(path.exists() for path in stage.outputs)

    def log_metrics(self, metrics: dict[str, float], artifacts: Sequence[Path], description: str | None = None) -> None:
        """Put the final figures and files into the parent run, and another description if there is one."""
        parent = self._state(PIPELINE)["run_id"]
        if description is not None:
            self.client.set_tag(parent, NOTE, description)
        for name, value in metrics.items():
            self.client.log_metric(parent, name, value)
        for path in artifacts:
            self.client.log_artifact(parent, str(path))

    def _run_stage(self, stage: Stage, parent: str, title: str) -> dict[str, Any]:
        """Run a stage unless it is done; its record."""
        state = self._state(stage.name)
        if self.is_done(stage):
            print(f"{title}: done before, its inputs have not changed.", flush=True)
        else:
            fingerprint = stage.fingerprint()
            if state.get("fingerprint") != fingerprint:
                shutil.rmtree(stage.folder, ignore_errors=True)
                state = {"fingerprint": fingerprint, "seconds": 0.0}
            if stage.bundle is not None:
                name = f"{stage.name}_{self.output.name}_{parent[:6]}_{fingerprint[:6]}"
                tags = {"mlflow.parentRunId": parent}
                state["run_id"] = self._open_run(state.get("run_id"), stage.bundle.name, name, tags)
                stage.tracked = self._tracking(stage.bundle, stage.name, name)
            state |= {"command": stage.shell(), "done": False}
            self._write_state(stage.name, state)
            print(f"{title}\n  {stage.shell()}", flush=True)
            started = time.monotonic()
            try:
                self._execute(stage)
                state["done"] = True
            finally:
                state["seconds"] = round(state["seconds"] + time.monotonic() - started, 1)
                self._write_state(stage.name, state)
            if stage.bundle is not None:
                self.client.set_terminated(state["run_id"])
        record = {key: state.get(key) for key in ("command", "seconds", "run_id")}
        return {"name": stage.name, **record, "experiment": stage.bundle.name if stage.bundle else None}

    def _execute(self, stage: Stage) -> None:
        """Run the command; what it says goes to ``logs/NAME.log``, its standard error to the terminal as well."""
        log = self.output / "logs" / f"{stage.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [*stage.command, *stage.tracked]
        command[0] = sys.executable if command[0] == "python" else command[0]
        environment = {**os.environ, **self._waiting, "PYTHONUNBUFFERED": "1"}
        if self.quiet:
            environment["TQDM_DISABLE"] = "1"
        last = ""
        with open(log, "ab") as stream:
            process = subprocess.Popen(
                command,
                stdout=stream,
                stderr=subprocess.PIPE,
                env=environment,
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

    def _open_run(self, run_id: str | None, experiment: str, name: str, tags: Mapping[str, str]) -> str:
        """Take up the run in MLflow that an earlier attempt made, or make one."""
        if run_id is not None and self._run_exists(run_id):
            self.client.update_run(run_id, status="RUNNING")
            for key, value in tags.items():
                self.client.set_tag(run_id, key, value)
            return run_id
        known = find_experiment(self.client, experiment)
        if known is not None:
            number = known.experiment_id
        else:
            local = self.tracking_uri.startswith("sqlite:")
            folder = (self.mlruns / experiment).absolute().as_uri() if local else None
            number = self.client.create_experiment(experiment, artifact_location=folder, tags=TRAINING)
        return str(self.client.create_run(number, run_name=name, tags=dict(tags)).info.run_id)

    def _run_exists(self, run_id: str) -> bool:
        try:
            return self.client.get_run(run_id).info.lifecycle_stage == "active"
        except MlflowException:
            return False

    def _tracking(self, bundle: Path, stage: str, name: str) -> list[str]:
        """Arguments that make a bundle log to the run of that name."""
        return [
            *("--tracking", str(bundle / "configs" / "mlflow.json"), "--tracking_uri", self.tracking_uri),
            *("--experiment_name", bundle.name, "--run_name", name),
            *("--save_execute_config", str(self.output / "configs" / "executed" / f"{stage}.json")),
        ]

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
