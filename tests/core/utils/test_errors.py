"""A mistake in a user's data ends in one sentence, wherever MONAI wraps it."""

from __future__ import annotations

from pathlib import Path

import pytest
from monai.bundle import ConfigParser
from monai.data import CacheDataset, DataLoader, Dataset
from monai.transforms import Compose

from doll_monai.transforms.reading import LoadRadiographd
from doll_monai.utils.errors import InputError, explained, sentence_of, switch


@pytest.mark.parametrize(("value", "expected"), [(True, True), (False, False), ("true", True), ("False", False)])
def test_a_switch_is_read_however_it_was_written(value, expected: bool) -> None:
    assert switch(value) is expected


@pytest.mark.parametrize("value", ["yes", 2, None])
def test_what_is_no_switch_is_refused(value) -> None:
    with pytest.raises(InputError, match="ig_compile must be true or false"):
        switch(value, "ig_compile")


def _raised(action) -> BaseException:
    with pytest.raises(Exception) as info:  # noqa: PT011 - MONAI's wrapping is what is tested
        action()
    return info.value


@pytest.fixture
def missing(tmp_path: Path) -> tuple[list[dict[str, str]], str]:
    path = tmp_path / "no image.png"
    return [{"image": str(path)}], f"The image {path} does not exist; correct the datalist or dataset_dir."


def test_sentence_is_found_behind_a_transform(missing) -> None:
    records, sentence = missing
    error = _raised(lambda: Compose([LoadRadiographd("image")])(records[0]))
    assert not isinstance(error, InputError)
    assert sentence_of(error) == sentence


def test_sentence_is_found_behind_a_cache(missing) -> None:
    records, sentence = missing
    error = _raised(lambda: CacheDataset(records, Compose([LoadRadiographd("image")]), num_workers=1, progress=False))
    assert sentence_of(error) == sentence


def test_sentence_is_found_behind_a_configuration_expression(tmp_path: Path) -> None:
    parser = ConfigParser(
        {
            "imports": ["$import doll_monai.bundle as doll"],
            "data": f"$doll.load_datalist({str(tmp_path / 'absent.json')!r}, 'training', '.')",
            "dataset": {"_target_": "Dataset", "data": "@data"},
        }
    )
    error = _raised(lambda: parser.get_parsed_content("dataset"))
    assert not isinstance(error, InputError)
    sentence = sentence_of(error)
    assert sentence is not None
    assert sentence.startswith(f"{tmp_path / 'absent.json'} does not exist")


def test_sentence_is_found_behind_a_data_loaders_process(missing) -> None:
    records, sentence = missing
    loader = DataLoader(Dataset(records, Compose([LoadRadiographd("image")])), num_workers=1)
    error = _raised(lambda: next(iter(loader)))
    assert sentence_of(error) == sentence


@pytest.mark.parametrize("error", [RuntimeError("bug"), ValueError("the words InputError: in a text"), KeyError("a")])
def test_other_errors_have_no_sentence(error: Exception) -> None:
    assert sentence_of(error) is None


def test_a_circle_of_causes_ends() -> None:
    first, second = RuntimeError("first"), RuntimeError("second")
    first.__cause__, second.__cause__ = second, first
    assert sentence_of(first) is None


@pytest.mark.parametrize(
    ("error", "raised", "code"),
    [
        (InputError("The folder is gone."), SystemExit, "Error: The folder is gone."),
        (KeyboardInterrupt(), SystemExit, 130),
        (RuntimeError("bug"), RuntimeError, None),
    ],
)
def test_a_bundle_run_ends_with_the_sentence_and_other_programs_see_the_error(
    error: BaseException, raised: type[BaseException], code: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    @explained
    def fail() -> None:
        raise error

    with pytest.raises(type(error)):
        fail()
    monkeypatch.setattr("doll_monai.utils.errors.is_bundle_run", lambda: True)
    with pytest.raises(raised) as caught:
        fail()
    assert getattr(caught.value, "code", None) == code
