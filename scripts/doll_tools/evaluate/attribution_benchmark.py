"""Our Integrated Gradients beside captum's: the same committee, images and positives, one after the other."""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser

from doll_monai.attribution.compiling import can_compile
from doll_monai.attribution.completeness import completeness_error
from doll_monai.data.datalist import write_datalist
from doll_monai.findings import FOREGROUND, finding_index
from doll_monai.networks.weights import load_weights, save_weights
from doll_monai.utils.atomic import write_atomic
from doll_monai.utils.errors import InputError, switch
from doll_monai.utils.progress import Bar
from doll_tools.evaluate.engines import explain
from doll_tools.pipeline.stages import bundle_run
from doll_tools.prepare.chexpert import read_chexpert
from doll_tools.release.committee import committee_definition

logger = logging.getLogger(__name__)

CAPTUM_STEPS = 50
REFERENCE_STEPS = 200
ENGINES = ("ours", "captum", "reference")
"""Ours as the bundle computes large data sets, captum as a user would call it, and with more steps."""
AGAIN = "ours_again"
"""Ours once more after captum; the mean of both times is ours, so that a machine that slows down favours nobody."""
HOURS_IMAGES = 224_316
"""Images of CheXpert, for the estimate of hours."""


class AttributionBenchmark:
    """Measures attributions and the labels that the bundle makes of them.

    What is finished lies in ``work`` and is not computed again, as long as the arguments are the same.

    Args:
        bundles: folder of the bundles.
        networks: names of ``configs/members`` of the classifier bundle.
        chexpert: images in CheXpert's layout; those of ``train.csv`` are drawn from.
        count: number of images.
        reference_count: on how many of them the reference is computed.
        size: side of the images in pixels.
        work: folder for networks and results.
        epochs: how long the networks are trained on ``train.csv``, with the classifier bundle.
        seed: of the draw of images and of the training.
        overrides: other values of the label bundle.
        quiet: show no progress.

    Raises:
        InputError: when there are too few images, or a folder or a network does not exist.
    """

    def __init__(
        self,
        bundles: Path,
        networks: Sequence[str],
        chexpert: Path,
        count: int,
        reference_count: int,
        size: int,
        work: Path,
        epochs: int = 2,
        seed: int = 0,
        overrides: Mapping[str, Any] | None = None,
        quiet: bool = False,
    ) -> None:
        if not 1 <= reference_count <= count:
            raise InputError(f"reference_count must be from 1 to count, {count}, not {reference_count}.")
        self.bundles, self.networks, self.chexpert = bundles, list(networks), chexpert
        self.count, self.reference_count, self.size = count, reference_count, size
        self.work, self.epochs, self.seed = work, epochs, seed
        bundles / "chexpert_cxr_classification"
        self.definitions = committee_definition(self.networks)
        config = bundles / "doll_cxr_label_generation" / "configs" / "inference.json"
        self.labels = ConfigParser({**json.loads(config.read_text()), "image_size": [size, size], **(overrides or {})})
        self.labels["network_def"] = self.definitions
        self.labels["dataset_dir"] = str(chexpert)
        self.quiet = quiet
        self._changes: dict[str, torch.Tensor] = {}

    def run(self) -> dict[str, Any]:
        """The figures; see ``report``."""
        self.work.mkdir(parents=True, exist_ok=True)
        records = self._draw()
        self.image, self.wanted = self._images(records)
        for name in self.networks:
            self._train(name)
        few = max(self.count // 4, 1)
        plan = [("ours", self.count), ("captum", self.count), (AGAIN, self.count), ("ours", few)]
        plan.append(("reference", self.reference_count))
        networks = zip(self.networks, self.definitions["members"], strict=True)
        runs = [(engine, *network, count) for network in networks for engine, count in plan]
        for run in Bar(runs, name="explain", unit="run", quiet=self.quiet):
            self._explain(*run)
        return self.report()

    def _draw(self) -> list[dict[str, Any]]:
        """Images drawn at random: as many positives an image as the data set has, and none in some."""
        records = self._records("train.csv")
        if len(records) < self.count:
            raise InputError(f"{self.chexpert} has {len(records)} images, not {self.count}.")
        order = np.random.default_rng(self.seed).permutation(len(records))[: self.count]
        return [{**records[i], "image": str(self.chexpert / records[i]["image"])} for i in order]

    def _records(self, table: str) -> list[dict[str, Any]]:
        images, _ = read_chexpert(Path(self.chexpert), table)
        return [{"image": image.image, "label": image.values} for image in images]

    def _images(self, records: Sequence[Mapping[str, Any]]) -> tuple[torch.Tensor, torch.Tensor]:
        preprocessing = self.labels.get_parsed_content("preprocessing")
        items = [preprocessing(dict(record)) for record in records]
        image = torch.stack([item["image"].as_tensor() for item in items])
        wanted = torch.stack([item["label"] >= 0.5 for item in items])
        wanted[:, [finding_index(name) for name in self.labels.get_parsed_content("unlocalized")]] = False
        if not bool(wanted[: self.reference_count].any()):
            raise InputError("None of the first images drawn has a positive observation; give more images, or a seed.")
        return image, wanted

    def _train(self, name: str) -> None:
        """A few epochs with the classifier bundle: the path of an untrained network is smoother than a real one."""
        folder = self.work / name
        if (folder / "model.pt").is_file():
            return
        sections = {
            "training": self._records("train.csv"),
            "validation": self._records("valid.csv"),
        }
        datalist = self.work / "dataset.json"
        write_datalist(datalist, sections)
        bundle = self.bundles / "chexpert_cxr_classification"
        configs = [bundle / "configs" / "train.json", bundle / "configs" / "members" / f"{name}.json"]
        values: dict[str, Any] = {
            "dataset_dir": self.chexpert,
            "datalist": datalist,
            "ckpt_dir": folder,
            "output_dir": folder,
        }
        values |= {"image_size": [self.size, self.size], "max_epochs": self.epochs, "batch_size": 16}
        command = bundle_run(configs, bundle, **values, seed=self.seed)
        logger.info("Training %s for %d epoch(s).", name, self.epochs)
        hidden = {"TQDM_DISABLE": "1"} if switch(self.quiet, "quiet") else {}
        done = subprocess.run([sys.executable, *command[1:]], check=False, env={**os.environ, **hidden})
        if done.returncode != 0:
            raise InputError(f"Training {name} failed; the reason is above.")

    def _arguments(self, engine: str) -> dict[str, Any]:
        if engine not in ("ours", AGAIN):
            return {"n_steps": CAPTUM_STEPS if engine == "captum" else REFERENCE_STEPS}
        names = {
            "ig_steps": "n_steps",
            "ig_method": "method",
            "ig_baseline": "baselines",
            "ig_batch_size": "internal_batch_size",
            "ig_tolerance": "tolerance",
            "ig_max_steps": "max_steps",
            "batch_size": "batch_size",
            "precision": "precision",
        }
        arguments = {argument: self.labels.get_parsed_content(value) for value, argument in names.items()}
        return {
            **arguments,
            "compile_network": can_compile(self.labels.get_parsed_content("device")),
        }

    def _path(self, engine: str, name: str, count: int) -> Path:
        weights = hashlib.sha256((self.work / name / "model.pt").read_bytes()).hexdigest()
        key = [self._arguments(engine), count, self.size, self.seed, weights, str(self.chexpert)]
        digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:12]
        return self.work / f"{engine}_{name}_{count}_{digest}.pt"

    def _explain(self, engine: str, name: str, definition: Mapping[str, Any], count: int) -> None:
        path = self._path(engine, name, count)
        if path.is_file():
            return
        logger.info("Explaining %d images by %s with %s.", count, name, engine)
        images, settings = self.work / "images.pt", self.work / "settings.json"
        save_weights({"image": self.image[:count].clone(), "wanted": self.wanted[:count].clone()}, images)
        write_atomic(settings, json.dumps(self._arguments(engine)).encode())
        checkpoint = self.work / name / "model.pt"
        process = multiprocessing.get_context("spawn").Process(
            target=explain, args=(engine, definition, checkpoint, images, settings, path)
        )
        process.start()
        process.join()
        if process.exitcode != 0:
            raise InputError(f"Explaining by {name} with {engine} failed; the reason is above.")

    def _result(self, engine: str, name: str, count: int) -> dict[str, torch.Tensor]:
        result: dict[str, torch.Tensor] = torch.load(self._path(engine, name, count), weights_only=True)
        return result

    def report(self) -> dict[str, Any]:
        """Ratios first, then seconds, memory, completeness errors and agreement of each engine."""
        pairs = int(self.wanted.sum())
        engines = {engine: self._engine(engine) for engine in ENGINES}
        reference = self._labels("reference")
        iou = {engine: self._agreement(self._labels(engine), reference) for engine in ("ours", "captum")}
        seconds = {engine: figures["seconds_per_pair"] for engine, figures in engines.items()}
        few = max(self.count // 4, 1)
        of_few = max(int(self._result("ours", name, few)["peak_memory_bytes"]) for name in self.networks)
        images_per_second = self.count / (engines["ours"]["seconds_per_pair"] * pairs)
        return {
            "throughput_ratio": seconds["captum"] / seconds["ours"],
            "throughput_ratio_by_network": {
                name: engines["captum"]["seconds"][name] / engines["ours"]["seconds"][name] for name in self.networks
            },
            "foreground_iou_median": float(np.median(iou["ours"])),
            "foreground_iou_5th_percentile": float(np.percentile(iou["ours"], 5)),
            "foreground_iou_median_captum": float(np.median(iou["captum"])),
            "completeness_error_median": self._of(engines, "completeness_error_median"),
            "completeness_error_95th_percentile": self._of(engines, "completeness_error_95th_percentile"),
            "peak_memory_bytes": self._of(engines, "peak_memory_bytes"),
            "peak_memory_ratio_all_to_quarter_of_images": engines["ours"]["peak_memory_bytes"] / max(of_few, 1),
            "seconds_per_pair": seconds,
            "images_per_second": images_per_second,
            f"hours_for_{HOURS_IMAGES}_images": HOURS_IMAGES / images_per_second / 3600,
            "engines": engines,
            "networks": self.networks,
            "images": self.count,
            "reference_images": self.reference_count,
            "pairs": pairs,
            "positives_per_image": pairs / self.count,
            "size": self.size,
            "training_epochs": self.epochs,
            "settings": {engine: self._arguments(engine) for engine in ENGINES},
            "threads": torch.get_num_threads(),
            "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
            "torch": torch.__version__,
        }

    @staticmethod
    def _of(engines: Mapping[str, Mapping[str, Any]], figure: str) -> dict[str, Any]:
        return {engine: engines[engine][figure] for engine in ("ours", "captum")}

    def _engine(self, engine: str) -> dict[str, Any]:
        """One engine's figures; seconds are those of all members for a pair."""
        count = self.reference_count if engine == "reference" else self.count
        results = {name: self._result(engine, name, count) for name in self.networks}
        pairs = int(self.wanted[:count].sum())
        runs = [results]
        if engine == "ours":
            runs.append({name: self._result(AGAIN, name, count) for name in self.networks})
        seconds = {name: fmean(float(run[name]["seconds"]) for run in runs) for name in self.networks}
        errors = np.concatenate([self._errors(name, results[name]["gradient"], count) for name in self.networks])
        steps = torch.cat([result["n_steps"].float() for result in results.values()])
        extra = ("setup_seconds", "internal_batch_size")
        return {
            "seconds": seconds,
            "seconds_per_pair": sum(seconds.values()) / pairs,
            "steps_mean": float(steps.mean()),
            "completeness_error_median": float(np.median(errors)),
            "completeness_error_95th_percentile": float(np.percentile(errors, 95)),
            "peak_memory_bytes": max(int(result["peak_memory_bytes"]) for result in results.values()),
            **{key: {n: float(r[key]) for n, r in results.items() if key in r} for key in extra},
        }

    def _errors(self, name: str, gradient: torch.Tensor, count: int) -> np.ndarray:
        """Completeness errors against f(x) - f(b) in float32, the same for all engines."""
        if name not in self._changes:
            definition = self.definitions["members"][self.networks.index(name)]
            network = ConfigParser({"network": definition}).get_parsed_content("network")
            network = load_weights(network, self.work / name / "model.pt").eval()
            with torch.no_grad():
                self._changes[name] = network(self.image) - network(torch.zeros_like(self.image[:1]))
        wanted = self.wanted[:count]
        image = wanted.nonzero()[:, 0]
        total = (gradient * self.image[image, 0]).sum((1, 2))
        error: np.ndarray = completeness_error(total, self._changes[name][:count][wanted]).numpy()
        return error

    def _agreement(self, ours: torch.Tensor, reference: torch.Tensor) -> np.ndarray:
        """IoU of the foregrounds of two engines' labels."""
        wanted = self.wanted[: self.reference_count]
        a, b = (labels[wanted] == FOREGROUND for labels in (ours, reference))
        iou: np.ndarray = ((a & b).sum((1, 2)) / (a | b).sum((1, 2)).clamp(min=1)).numpy()
        return iou

    def _labels(self, engine: str) -> torch.Tensor:
        """Labels of the committee for the images that have a reference, (B, 14, H, W)."""
        count = self.reference_count
        wanted = self.wanted[:count]
        size = count if engine == "reference" else self.count
        processing = self.labels.get_parsed_content("postprocessing")
        maps = []
        for name in self.networks:
            full = torch.zeros((*self.wanted[:size].shape, self.size, self.size))
            full[self.wanted[:size]] = self._result(engine, name, size)["gradient"]
            maps.append(full)
        labels = []
        for index in range(count):
            item: dict[str, Any] = {"image": self.image[index], "label": wanted[index].float()}
            item |= {f"attribution_{number}": full[index] for number, full in enumerate(maps)}
            item |= {f"pred_{number}": torch.zeros(wanted.shape[1]) for number in range(len(maps))}
            labels.append(torch.as_tensor(processing(item)["pred"]))
        return torch.stack(labels)
