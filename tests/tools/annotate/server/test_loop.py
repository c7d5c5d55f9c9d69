"""The annotator's loop over HTTP: propose, correct, save, train, propose better."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import requests
from serving import Server, start_server, wait_for

from doll_tools.annotate.masks import dice

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
LUNGS = "lung_cxr_segmentation"
GroundTruth = tuple[Path, dict[str, np.ndarray]]


def test_models_strategies_and_findings_are_offered(server: Server, truth: GroundTruth) -> None:
    info = server.get("/info/")
    assert {"doll_cxr_segmentation", "chexpert_cxr_classification"} <= set(info["models"])
    assert set(info["trainers"]) == {LUNGS, "jsrt_cxr_segmentation", "covid_cxr_segmentation"}
    assert info["models"]["doll_cxr_segmentation"]["labels"]["Cardiomegaly"] == 3
    assert info["datastore"] == {"total": 12, "completed": 0, "label_tags": {}}
    assert set(info["strategies"]) == {"disagreement", "first", "random"}
    for strategy in info["strategies"]:
        assert server.ask("POST", f"/activelearning/{strategy}", json={}).json()["id"] in truth[1]
    image = sorted(truth[1])[0]
    answer = server.ask("POST", f"/infer/chexpert_cxr_classification?image={image}&output=json")
    scores = answer.json()["prediction"]
    assert len(scores) == 14
    assert all(0 <= score["score"] <= 1 for score in scores)
    mask = server.infer(image, "doll_cxr_segmentation", finding="Cardiomegaly")
    assert mask.shape == truth[1][image].shape
    assert mask.dtype == np.uint8
    assert set(np.unique(mask)) <= {0, 3}


def test_mistakes_end_in_a_sentence(server: Server, truth: GroundTruth) -> None:
    image, findings = sorted(truth[1])[0], "/infer/doll_cxr_segmentation?image="
    small, empty = np.zeros((5, 5), np.uint8), np.zeros(truth[1][image].shape, np.uint8)
    for answer, sentence in (
        (server.ask("POST", f"/infer/nothing?image={image}"), "There is no model 'nothing'"),
        (server.ask("POST", f"{findings}no_image"), "There is no image no_image"),
        (server.ask("POST", f"{findings}/etc/hostname"), "There is no image /etc/hostname"),
        (server.ask("POST", f"{findings}{server.output}/tmp/../main.py"), "There is no image"),
        (server.ask("POST", f"{findings}{image}", data={"params": "{"}), "cannot be read"),
        (
            server.ask("POST", f"{findings}{image}", data={"params": '{"result_extension": "/../x.png"}'}),
            "A mask cannot be written as /../x.png",
        ),
        (server.save(image, empty, classes=[{}]), "cannot be read"),
        (server.save(image, empty, classes=["liver"]), "There is no class liver"),
        (server.save(image, empty, label_info=[{"name": "liver"}]), "There is no class liver"),
        (server.save(image, empty, tag="../x"), "The tag '../x' is no plain name"),
        (server.save(image, small), "5 x 5 pixels, its image is"),
        (server.save(image, empty + 77), "has the value 77; values are whole numbers from 0 to 15."),
        (server.save("no_image", small), "There is no image no_image"),
        (server.ask("DELETE", f"/datastore/label?id={image}&tag=final"), "has no label 'final'"),
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
    info = server.info(images[2])
    assert info["classes"] == ["lungs"]
    assert info["proposal"] == {"model": LUNGS, "version": 1, "dice": {"lungs": dice(proposal, masks[images[2]])}}


def test_second_proposal_is_better_than_the_first_and_corrected_by_clicks(server: Server, truth: GroundTruth) -> None:
    images = sorted(truth[1])

    def score() -> float:
        return sum(dice(server.infer(image) == 1, truth[1][image]) or 0.0 for image in images[9:])

    first = score()
    for image in images[:9]:
        assert server.save(image, truth[1][image], classes=["lungs"]).status_code == 200
    assert server.train()["status"] == "DONE"
    assert score() > first
    stats = server.get("/info/")["train_stats"][LUNGS]
    assert (stats["images"], stats["version"], stats["members"]) == (9, 2, 2)
    chosen = server.ask("POST", "/activelearning/disagreement", json={}).json()
    assert chosen["by"] == "adapters"
    assert chosen["id"] in images[9:]
    assert 0 <= chosen["disagreement"] <= 1
    image = images[-1]
    before = server.infer(image, "lung_cxr_clicks") == 1
    row, column = map(int, np.argwhere(before)[0])
    after = server.infer(image, "lung_cxr_clicks", background=[[column, row]]) == 1
    assert not after[row, column]
    assert server.infer(image, "lung_cxr_clicks", lungs=[[0, 0, 0]])[0, 0] == 1


def test_proposal_never_replaces_what_was_saved(server: Server, truth: GroundTruth) -> None:
    image = sorted(truth[1])[0]
    before = server.stored(image)

    def propose(tag: str) -> str:
        form = {"params": json.dumps({"save_label": True, "label_tag": tag})}
        answer = server.ask("POST", f"/infer/{LUNGS}?image={image}&output=json", data=form)
        return "" if answer.status_code == 200 else answer.json()["detail"]

    assert "A proposal for" in propose("final")
    assert propose("original") == ""
    for tag in ("mine", "original"):  # also a proposal that an annotator corrected under the proposal's own tag
        assert server.save(image, truth[1][image], tag=tag, proposed_by="me").status_code == 200
        assert "A proposal for" in propose(tag)
    assert np.array_equal(server.stored(image), before)


def test_replaced_label_is_kept_and_other_classes_stay(server: Server, truth: GroundTruth) -> None:
    image = sorted(truth[1])[2]
    lungs, shape, classes = truth[1][image], truth[1][image].shape, ["lungs", "heart", "clavicles"]
    heart = np.zeros(shape, np.uint8)
    heart[shape[0] // 2 :, shape[1] // 2 :] = 2
    before = server.info(image)["proposal"]
    assert server.save(image, heart, classes=["heart", "clavicles"]).status_code == 200
    assert np.array_equal(server.stored(image), lungs | heart)
    assert server.info(image)["classes"] == classes
    assert server.save(image, lungs | heart, classes=["lungs"]).status_code == 200
    assert server.info(image)["classes"] == classes
    assert server.info(image)["proposal"] == before
    earlier = list((server.images / ".earlier_labels" / image).glob("final_*.png"))
    assert len(earlier) > 1


def test_removed_label_is_kept_and_that_of_an_image_that_was_away_is_known_again(
    server: Server, truth: GroundTruth
) -> None:
    image = sorted(truth[1])[2]
    assert server.save(image, truth[1][image], tag="second").status_code == 200
    assert server.ask("DELETE", f"/datastore/label?id={image}&tag=second").status_code == 200
    assert server.save(image, truth[1][image], tag="third").status_code == 200  # and the folders are looked through
    wait_for(lambda: "third" in server.get("/datastore/?output=all")["objects"][image]["labels"])
    assert "second" not in server.get("/datastore/?output=all")["objects"][image]["labels"]
    assert len(list((server.images / ".earlier_labels" / image).glob("second_*.png"))) == 1
    before = server.info(image)["classes"]
    (path,) = server.images.glob(f"{image}.*")
    path.rename(server.output / path.name)
    wait_for(lambda: image not in server.get("/datastore/?output=all")["objects"])
    (server.output / path.name).rename(path)
    wait_for(lambda: image in server.get("/datastore/?output=all")["objects"])
    assert server.info(image)["classes"] == before == ["lungs", "heart", "clavicles"]


def test_stopped_training_leaves_the_last_adapters(server: Server, truth: GroundTruth) -> None:
    def version() -> int:
        return int(server.get("/info/")["train_stats"][LUNGS]["version"])

    before = version()
    assert server.ask("POST", f"/train/{LUNGS}", json={"iterations": 100000}).status_code == 200
    wait_for(lambda: any((server.output / "model" / LUNGS).glob(f"*/{before + 1:04d}.part/member_0")))
    assert server.ask("POST", f"/train/{LUNGS}", json={}).status_code == 429
    assert server.ask("DELETE", "/train/").json()["status"] == "STOPPED"
    assert version() == before
    assert server.infer(sorted(truth[1])[-1]).any()
    assert server.train(iterations=2, members=1)["status"] == "DONE"
    assert version() == before + 1


def test_batch_of_proposals_is_saved_beside_the_labels(server: Server) -> None:
    model = "doll_cxr_segmentation"
    assert server.ask("POST", f"/batch/infer/{model}?images=all", json={"label_tag": "batch"}).status_code == 200
    wait_for(lambda: server.ask("GET", "/batch/infer/?check_if_running=true").status_code != 200)
    assert server.get("/batch/infer/")["status"] == "DONE"
    wait_for(lambda: server.get("/info/")["datastore"]["label_tags"].get("batch") == 12)
    labels = [item["labels"] for item in server.get("/datastore/?output=all")["objects"].values()]
    assert {tags["batch"]["info"]["proposed_by"] for tags in labels} == {model}


def test_twenty_annotators_and_a_kill_lose_no_saved_label(truth: GroundTruth, run_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(truth[0], tmp_path / "images")
    extra, some = tmp_path / "images" / "come_and_go.png", next(truth[0].glob("*.jpg")).read_bytes()
    sent: dict[tuple[str, str], list[np.ndarray]] = {}
    saved: dict[tuple[str, str], int] = {}
    codes: list[int] = []

    def annotate(number: int) -> None:
        rng, image, tag = np.random.default_rng(number), sorted(truth[1])[number % len(truth[1])], f"person_{number}"
        while True:
            sent.setdefault((image, tag), []).append(rng.integers(0, 2, truth[1][image].shape, np.uint8))
            try:
                codes.append(server.save(image, sent[image, tag][-1], tag=tag, classes=["lungs"]).status_code)
                codes.append(server.ask("GET", f"/datastore/label?label={image}&tag={tag}").status_code)
            except requests.RequestException:
                return
            saved[image, tag] = len(sent[image, tag])
            extra.write_bytes(some)
            extra.unlink(missing_ok=True)

    threads = [threading.Thread(target=annotate, args=(number,)) for number in range(20)]
    with start_server(str(tmp_path / "images"), tmp_path / "output", run_folder) as server:
        for thread in threads:
            thread.start()
        wait_for(lambda: len(saved) == len(threads) and sum(saved.values()) > 2 * len(threads))
        server.process.kill()
        for thread in threads:
            thread.join()
    with start_server(str(tmp_path / "images"), tmp_path / "output", run_folder) as again:
        objects = again.get("/datastore/?output=all")["objects"]
    assert set(codes) == {200}
    for (image, tag), number in saved.items():
        stored = again.stored(image, tag)
        assert any(np.array_equal(stored, mask) for mask in sent[image, tag][number - 1 :])
        assert objects[image]["labels"][tag]["info"]["classes"] == ["lungs"]
