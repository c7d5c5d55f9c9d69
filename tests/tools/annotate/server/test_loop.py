"""The annotator's loop over HTTP: propose, correct, save, train, propose better."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image
from serving import Server, dice, start_server

from doll_tools.cli import main

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
LUNGS = "lung_cxr_segmentation"
GroundTruth = tuple[Path, dict[str, np.ndarray]]


def test_info_names_models_labels_trainers_and_strategies(server: Server) -> None:
    info = server.ask("GET", "/info/").json()
    assert {"doll_cxr_segmentation", "chexpert_cxr_classification"} <= set(info["models"])
    assert set(info["trainers"]) == {LUNGS, "jsrt_cxr_segmentation", "covid_cxr_segmentation"}
    assert set(info["strategies"]) == {"disagreement", "first", "random"}
    assert info["models"]["doll_cxr_segmentation"]["labels"]["Cardiomegaly"] == 3
    assert info["datastore"] == {"total": 12, "completed": 0, "label_tags": {}}


@pytest.mark.parametrize("strategy", ["disagreement", "first", "random"])
def test_next_image_is_one_without_a_label(server: Server, truth: GroundTruth, strategy: str) -> None:
    answer = server.ask("POST", f"/activelearning/{strategy}", json={})
    assert answer.status_code == 200, answer.text
    assert answer.json()["id"] in truth[1]


def test_findings_are_scored_and_shown_in_the_image_s_grid(server: Server, truth: GroundTruth) -> None:
    image = sorted(truth[1])[0]
    answer = server.ask("POST", f"/infer/chexpert_cxr_classification?image={image}&output=json")
    assert answer.status_code == 200, answer.text
    scores = answer.json()["prediction"]
    assert len(scores) == 14
    assert all(0 <= score["score"] <= 1 for score in scores)
    mask = server.infer(image, "doll_cxr_segmentation", finding="Cardiomegaly")
    assert mask.shape == truth[1][image].shape
    assert mask.dtype == np.uint8
    assert set(np.unique(mask)) <= {0, 3}


def test_mistakes_end_in_a_sentence(server: Server, truth: GroundTruth) -> None:
    image = sorted(truth[1])[0]
    small = np.zeros((5, 5), np.uint8)
    wrong = np.full(truth[1][image].shape, 77, np.uint8)
    for answer, sentence in (
        (server.ask("POST", f"/infer/nothing?image={image}"), "There is no model 'nothing'"),
        (server.ask("POST", "/infer/doll_cxr_segmentation?image=no_image"), "There is no image no_image"),
        (server.ask("POST", "/infer/doll_cxr_segmentation?image=/etc/hostname"), "There is no image /etc/hostname"),
        (server.ask("POST", f"/infer/doll_cxr_segmentation?image={image}", data={"params": "{"}), "cannot be read"),
        (
            server.ask("POST", f"/infer/doll_cxr_segmentation?image={server.output}/tmp/../main.py"),
            "There is no image",
        ),
        (server.save(image, wrong * 0, classes=[{}]), "'classes' must be a list of names"),
        (server.save(image, wrong * 0, label_info=[{"name": "liver"}]), "There is no class liver"),
        (server.save("no_image", small), "There is no image no_image"),
        (server.save(image, small), "5 x 5 pixels, its image is"),
        (server.save(image, wrong), "has the value 77; values are whole numbers from 0 to 15."),
        (server.save(image, wrong * 0, classes=["liver"]), "There is no class liver"),
        (server.save(image, wrong * 0, tag="../x"), "The tag '../x' is no plain name"),
        (server.ask("DELETE", f"/datastore/image?id={image}"), "Images are not deleted by the app"),
    ):
        assert answer.status_code == 400, answer.text
        assert sentence in answer.json()["detail"]
    status = server.train("jsrt_cxr_segmentation")
    assert status["status"] == "ERROR"
    assert any("0 images have a final label for lungs, heart, clavicles" in line for line in status["details"])


def test_proposal_is_compared_with_the_first_label(server: Server, truth: GroundTruth) -> None:
    images, masks = sorted(truth[1])[:3], truth[1]
    for image in images[:2]:
        assert server.save(image, masks[image], classes=["lungs"]).status_code == 200
    assert server.train(iterations=30, members=1)["status"] == "DONE"
    proposal = server.infer(images[2]) == 1
    assert server.save(images[2], masks[images[2]]).status_code == 200
    info = server.label(images[2])
    assert info["classes"] == ["lungs"]
    assert info["proposal"]["version"] == 1
    assert info["proposal"]["dice"]["lungs"] == pytest.approx(dice(proposal, masks[images[2]]), abs=1e-3)


def test_second_proposal_is_better_than_the_first(server: Server, truth: GroundTruth, tmp_path: Path) -> None:
    table, output = truth[0].parent / "truth" / "index.csv", tmp_path / "figures.json"
    options = ["--csv", str(table), "--classes", "lungs", "--output", str(output), "--drawn", "9", "--asked", "3"]
    assert main(["annotate", "measure", *options, "--address", server.address, "--quiet"]) == 0
    figures = json.loads(output.read_text())
    assert figures["first_proposal"]["lungs"] < figures["second_proposal"]["lungs"] <= 1
    assert figures["training"]["images"] == 9
    assert figures["training"]["version"] == 2
    assert set(figures["clicks"]["lungs"]) == {"1", "3", "5"}


def test_next_image_is_chosen_by_the_adapters(server: Server, truth: GroundTruth) -> None:
    answer = server.ask("POST", "/activelearning/disagreement", json={}).json()
    assert answer["by"] == "adapters"
    assert answer["id"] in sorted(truth[1])[-3:]
    assert 0 <= answer["disagreement"] <= 1


def test_clicks_correct_a_proposal(server: Server, truth: GroundTruth) -> None:
    image = sorted(truth[1])[-1]
    before = server.infer(image, "lung_cxr_clicks") == 1
    row, column = (int(value) for value in np.argwhere(before).mean(axis=0))
    column = int(np.flatnonzero(before[row])[0])
    after = server.infer(image, "lung_cxr_clicks", background=[[column, row]]) == 1
    assert before[row, column]
    assert not after[row, column]
    assert server.infer(image, "lung_cxr_clicks", lungs=[[0, 0, 0]])[0, 0] == 1


def test_proposal_never_replaces_what_was_saved(server: Server, truth: GroundTruth) -> None:
    image = sorted(truth[1])[0]
    label = server.images / "labels" / "final" / f"{image}.png"
    before = label.read_bytes()
    for tag, code in (("final", 400), ("original", 200)):
        form = {"params": f'{{"save_label": true, "label_tag": "{tag}"}}'}
        answer = server.ask("POST", f"/infer/{LUNGS}?image={image}&output=json", data=form)
        assert answer.status_code == code, answer.text
    assert server.save(image, truth[1][image], tag="mine").status_code == 200
    form = {"params": '{"save_label": true, "label_tag": "mine"}'}
    answer = server.ask("POST", f"/infer/{LUNGS}?image={image}&output=json", data=form)
    assert "A proposal for" in answer.json()["detail"]
    assert label.read_bytes() == before
    # nor a proposal that an annotator corrected under the proposal's own tag
    assert server.save(image, truth[1][image], tag="original", proposed_by="me").status_code == 200
    form = {"params": '{"save_label": true, "label_tag": "original"}'}
    answer = server.ask("POST", f"/infer/{LUNGS}?image={image}&output=json", data=form)
    assert "A proposal for" in answer.json()["detail"]


def test_replaced_label_is_kept_and_other_classes_stay(server: Server, truth: GroundTruth) -> None:
    image = sorted(truth[1])[0]
    lungs, shape = truth[1][image], truth[1][image].shape
    heart = np.zeros(shape, np.uint8)
    heart[shape[0] // 2 :, shape[1] // 2 :] = 2
    classes = ["lungs", "heart", "clavicles"]
    assert server.save(image, heart, classes=["heart", "clavicles"]).status_code == 200
    before = server.label(image).get("proposal")
    stored = np.asarray(Image.open(server.images / "labels" / "final" / f"{image}.png"))
    assert np.array_equal(stored & 1, lungs)
    assert np.array_equal(stored & 2, heart)
    assert server.label(image)["classes"] == classes
    assert server.save(image, lungs | heart, classes=["lungs"]).status_code == 200
    assert server.label(image)["classes"] == classes
    assert server.label(image).get("proposal") == before
    earlier = list((server.images / ".earlier_labels" / image).glob("final_*.png"))
    assert any(np.array_equal(np.asarray(Image.open(path)), lungs) for path in earlier)


def test_segments_as_slicer_numbers_them(server: Server, truth: GroundTruth) -> None:
    image = sorted(truth[1])[1]
    heart = np.zeros(truth[1][image].shape, np.uint8)
    heart[10:40, 10:40] = 1
    answer = server.save(image, heart, tag="slicer", classes=["heart"], label_info=[{"name": "heart"}])
    assert answer.status_code == 200, answer.text
    stored = np.asarray(Image.open(server.images / "labels" / "slicer" / f"{image}.png"))
    assert np.array_equal(stored, heart * 2)


def test_removed_label_is_gone_and_kept(server: Server, truth: GroundTruth) -> None:
    image = sorted(truth[1])[2]
    mask = truth[1][image].astype(np.uint8)
    assert server.save(image, mask, tag="second").status_code == 200
    assert server.ask("DELETE", f"/datastore/label?id={image}&tag=second").status_code == 200
    assert server.save(image, mask, tag="third").status_code == 200  # MONAI Label looks through the folders again
    time.sleep(1)
    labels = server.ask("GET", "/datastore/?output=all").json()["objects"][image]["labels"]
    assert "second" not in labels
    assert "third" in labels
    assert len(list((server.images / ".earlier_labels" / image).glob("second_*.png"))) == 1


def test_label_of_an_image_that_was_away_is_known_again(server: Server, truth: GroundTruth) -> None:
    image = sorted(truth[1])[3]
    before = server.label(image)["classes"]
    (path,) = server.images.glob(f"{image}.*")
    path.rename(server.output / path.name)
    _wait(lambda: image not in server.ask("GET", "/datastore/?output=all").json()["objects"])
    (server.output / path.name).rename(path)
    _wait(lambda: image in server.ask("GET", "/datastore/?output=all").json()["objects"])
    assert server.save(image, truth[1][image].astype(np.uint8), classes=["lungs"]).status_code == 200
    assert server.label(image)["classes"] == before


def _wait(done: Callable[[], bool]) -> None:
    for _ in range(600):
        if done():
            return
        time.sleep(0.2)
    raise AssertionError("It did not happen within 20 seconds.")


def test_stopped_training_leaves_the_last_adapters(server: Server, truth: GroundTruth) -> None:
    before = server.ask("GET", "/info/").json()["train_stats"][LUNGS]["version"]
    assert server.ask("POST", f"/train/{LUNGS}", json={"iterations": 100000}).status_code == 200
    _wait(lambda: any((server.output / "model" / LUNGS).glob(f"*/{before + 1:04d}.part/member_0")))
    assert server.ask("POST", f"/train/{LUNGS}", json={}).status_code == 429
    assert server.ask("DELETE", "/train/").json()["status"] == "STOPPED"
    assert server.ask("GET", "/info/").json()["train_stats"][LUNGS]["version"] == before
    assert server.infer(sorted(truth[1])[-1]).any()
    assert server.train(iterations=2, members=1)["status"] == "DONE"
    assert server.ask("GET", "/info/").json()["train_stats"][LUNGS]["version"] == before + 1


def test_requests_at_once_do_not_damage_the_datastore(server: Server, truth: GroundTruth) -> None:
    images, masks = sorted(truth[1])[:6], truth[1]
    codes: list[int] = []

    def work(image: str) -> None:
        for _ in range(3):
            codes.append(server.save(image, masks[image], classes=["lungs"], note=image).status_code)
            codes.append(server.ask("GET", f"/doll/label?image={image}").status_code)
            codes.append(server.ask("GET", "/doll/images").status_code)
            (server.images / "come_and_go.png").write_bytes(some)
            (server.images / "come_and_go.png").unlink(missing_ok=True)

    some = next(server.images.glob("*.jpg")).read_bytes()
    threads = [threading.Thread(target=work, args=(image,)) for image in images for _ in range(2)]
    batch = server.ask("POST", f"/batch/infer/{LUNGS}?images=labeled", json={"label_tag": "original"})
    assert batch.status_code == 200, batch.text
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(codes) == {200}
    while server.ask("GET", "/batch/infer/?check_if_running=true").status_code == 200:
        time.sleep(0.5)
    assert server.ask("GET", "/batch/infer/").json()["status"] == "DONE"
    objects = server.ask("GET", "/datastore/?output=all").json()["objects"]
    for image in images:
        assert objects[image]["labels"]["final"]["info"]["note"] == image
        stored = np.asarray(Image.open(server.images / "labels" / "final" / f"{image}.png"))
        assert np.array_equal(stored & 1, masks[image])


def test_twenty_annotators_and_a_kill_lose_no_saved_label(truth: GroundTruth, run_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(truth[0], tmp_path / "images")
    server = start_server(str(tmp_path / "images"), tmp_path / "output", run_folder)
    sent: dict[tuple[str, str], list[np.ndarray]] = {}
    saved: dict[tuple[str, str], int] = {}

    def annotate(number: int) -> None:
        rng, image, tag = np.random.default_rng(number), sorted(truth[1])[number % len(truth[1])], f"person_{number}"
        for _ in range(1000):
            sent.setdefault((image, tag), []).append(rng.integers(0, 2, truth[1][image].shape, np.uint8))
            try:
                assert server.save(image, sent[image, tag][-1], tag=tag, classes=["lungs"]).status_code == 200
            except requests.RequestException:
                return
            saved[image, tag] = len(sent[image, tag])

    threads = [threading.Thread(target=annotate, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    _wait(lambda: len(saved) == len(threads) and sum(saved.values()) > 2 * len(threads))
    server.process.kill()
    for thread in threads:
        thread.join()
    server.process.wait(20)
    again = start_server(str(server.images), server.output, run_folder)
    try:
        objects = again.ask("GET", "/datastore/?output=all").json()["objects"]
    finally:
        again.process.kill()
    for (image, tag), number in saved.items():
        stored = np.asarray(Image.open(server.images / "labels" / tag / f"{image}.png"))
        assert any(np.array_equal(stored, mask) for mask in sent[image, tag][number - 1 :])
        assert objects[image]["labels"][tag]["info"]["classes"] == ["lungs"]
