"""Play the annotator of a running label app: how good proposals are before and after training, and what clicks add.

Example, with the images of a table in one folder, served by ``make label STUDIES=IMAGES``:
    doll annotate measure --address http://127.0.0.1:8000 --csv IMAGES/index.csv \
        --classes lungs=right_lung+left_lung --output output/annotation.json
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import requests
from PIL import Image
from scipy.ndimage import distance_transform_edt, label

from doll_monai.data.datalist import read_table
from doll_monai.utils.atomic import write_atomic
from doll_monai.utils.errors import InputError
from doll_monai.utils.progress import Bar
from doll_tools.prepare.masks import parse_classes

CLICKS = (1, 3, 5)
Masks = dict[str, np.ndarray]


def measure(
    csv: str,
    classes: str,
    output: str,
    address: str = "http://127.0.0.1:8000",
    model: str = "lung_cxr_segmentation",
    drawn: int = 10,
    asked: int = 20,
    image: str = "image",
    quiet: bool = False,
) -> None:
    """Save true masks of some images, train, and compare proposals for others with their true masks.

    Args:
        csv: table of images and masks; an image's id is its file's name.
        classes: such as lungs=right_lung+left_lung, as for doll prepare masks.
        output: JSON file for the figures.
        address: of the app.
        model: the task.
        drawn: images whose true masks are saved, the first of the table.
        asked: images that are asked about, the last of the table.
        image: column of images.
        quiet: show no progress.
    """
    server = _Server(address, model)
    truth = _truth(csv, classes, image, server.images())
    if len(truth) < drawn + asked:
        raise InputError(f"{csv} has {len(truth)} images that the app serves; {drawn} and {asked} are asked for.")
    names = list(truth)
    training, others = names[:drawn], {name: truth[name] for name in names[-asked:]}
    result: dict[str, Any] = {"model": model, "drawn": drawn, "asked": asked}
    ready = server.is_ready()
    bar = Bar(name="asking", total=drawn + asked * (3 if ready else 2), quiet=quiet)
    if ready:
        result["first_proposal"] = _mean(server.dice(others, bar))
    for name in training:
        server.save(name, truth[name])
        bar.update()
    start = time.monotonic()
    result["training"] = server.train() | {"seconds_with_start": round(time.monotonic() - start)}
    result["second_proposal"] = _mean(server.dice(others, bar))
    result["clicks"] = _clicks(server, others, bar)
    bar.close()
    write_atomic(output, json.dumps(result, indent=2).encode())
    print(json.dumps(result, indent=2))


class _Server:
    """Args: address, of the app; model, a task."""

    def __init__(self, address: str, model: str) -> None:
        self.address, self.model = address, model
        state = self._ask("GET", "/doll/images").json()
        if model not in state["tasks"]:
            raise InputError(f"{address} has no task {model}; it has {', '.join(state['tasks'])}.")
        self.classes: list[str] = state["tasks"][model]["classes"]
        self.bits = {name: state["bits"][name] for name in self.classes}

    def _ask(self, method: str, path: str, **options: Any) -> requests.Response:
        try:
            answer = requests.request(method, self.address + path, timeout=600, **options)
        except requests.RequestException as error:
            raise InputError(f"Nobody answers at {self.address}; start the app, or give its --address.") from error
        if answer.status_code != 200:
            raise InputError(f"{self.address}{path}: {answer.json().get('detail', answer.text)}")
        return answer

    def images(self) -> list[str]:
        return [image["id"] for image in self._ask("GET", "/doll/images").json()["images"]]

    def is_ready(self) -> bool:
        return bool(self._ask("GET", "/doll/images").json()["tasks"][self.model]["ready"])

    def propose(self, image: str, clicks: Mapping[str, Any] | None = None) -> Masks:
        model = self.model.replace("_segmentation", "_clicks") if clicks else self.model
        form = {"params": json.dumps({"result_extension": ".png", **(clicks or {})})}
        answer = self._ask("POST", f"/infer/{model}?image={image}&output=image", data=form)
        mask = np.asarray(Image.open(io.BytesIO(answer.content)))
        return {name: (mask & bit) > 0 for name, bit in self.bits.items()}

    def save(self, image: str, masks: Masks) -> None:
        total = np.zeros(next(iter(masks.values())).shape, np.uint8)
        for name, mask in masks.items():
            total[mask] |= self.bits[name]
        buffer = io.BytesIO()
        Image.fromarray(total).save(buffer, "PNG")
        files = {"label": ("label.png", buffer.getvalue(), "image/png")}
        form = {"params": json.dumps({"classes": self.classes})}
        self._ask("PUT", f"/datastore/label?image={image}&tag=final", files=files, data=form)

    def train(self) -> dict[str, Any]:
        self._ask("POST", f"/train/{self.model}", json={})
        while (status := self._ask("GET", "/train/").json())["status"] in ("SUBMITTED", "RUNNING"):
            time.sleep(0.5)
        if status["status"] != "DONE":
            raise InputError(f"The training ended with {status['status']}: {' '.join(status['details'][-3:])}")
        stats: dict[str, Any] = self._ask("GET", "/info/").json()["train_stats"][self.model]
        return stats

    def dice(self, truth: Mapping[str, Masks], bar: Bar) -> list[dict[str, float]]:
        scores = []
        for image, masks in truth.items():
            scores.append({name: _dice(mask, masks[name]) for name, mask in self.propose(image).items()})
            bar.update()
        return scores


def _clicks(server: _Server, truth: Mapping[str, Masks], bar: Bar) -> dict[str, dict[str, float]]:
    """Dice after clicks of a class, each in the middle of the largest region that is wrong."""
    scores: dict[str, dict[str, list[float]]] = {}
    for image, masks in truth.items():
        for name, mask in masks.items():
            given: dict[str, list[list[int]]] = {"foreground": [], "background": []}
            found = server.propose(image)[name]
            for number in range(1, max(CLICKS) + 1):
                if (found != mask).any():
                    column, row = _middle_of_largest(found != mask)
                    given["foreground" if mask[row, column] else "background"].append([column, row])
                    found = server.propose(image, {"label": name, **given})[name]
                if number in CLICKS:
                    scores.setdefault(name, {}).setdefault(str(number), []).append(_dice(found, mask))
        bar.update()
    return {name: {count: round(float(np.mean(all)), 4) for count, all in by.items()} for name, by in scores.items()}


def _middle_of_largest(wrong: np.ndarray) -> tuple[int, int]:
    """Column and row of the pixel deepest inside the largest connected region."""
    regions, _ = label(wrong)
    largest = regions == np.bincount(regions.ravel())[1:].argmax() + 1
    depth = distance_transform_edt(np.pad(largest, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(depth.argmax(), depth.shape)
    return int(column), int(row)


def _truth(csv: str, classes: str, image: str, images: list[str]) -> dict[str, Masks]:
    columns = parse_classes(classes)
    folder, result = Path(csv).parent, {}
    for _, row in read_table(csv, [image, *(column for group in columns.values() for column in group)]):
        name = Path(row[image]).name.split(".")[0]
        if name in images:
            result[name] = {
                own: np.any([np.asarray(Image.open(folder / row[column])) > 127 for column in group], axis=0)
                for own, group in columns.items()
            }
    return result


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / max(a.sum() + b.sum(), 1))


def _mean(scores: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(float(np.mean([score[name] for score in scores])), 4) for name in scores[0]}
