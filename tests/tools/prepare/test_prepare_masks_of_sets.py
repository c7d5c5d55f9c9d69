"""Montgomery, Shenzhen, COVID-QU-Ex, QaTa-COV19 and one's own folders: small trees with their names and oddities."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from preparing import ROOT, mask, picture, read_datalist, run_program, tree

from doll_monai.transforms.reading import LoadLabeld, LoadRadiographd
from doll_monai.utils.errors import InputError
from doll_tools.prepare import covid, lungs
from doll_tools.prepare.mask_folders import files_by_name, prepare_mask_folders
from doll_tools.prepare.preparation import label_of

REAL = ROOT.parent / "shared" / "data" / "kermany_lungs"


def label(path: Path) -> np.ndarray:
    """(C, W, H) as the bundles read it."""
    return np.asarray(LoadLabeld("label")({"label": str(path)})["label"])


def labels_of(out: Path) -> dict[str, np.ndarray]:
    """Every image of a datalist and its label."""
    content = read_datalist(out / "dataset.json")
    records = [record for section in ("training", "validation", "test") for record in content.get(section, [])]
    return {record["image"]: label(out / record["label"]) for record in records}


@pytest.fixture
def nlm(tmp_path: Path) -> Path:
    """Five images of Montgomery, four of Shenzhen of which one has no mask, and what lies beside them."""
    folder = tmp_path / "NLM"
    for number in range(1, 6):
        name = f"MCUCXR_{number:04d}_{number % 2}.png"
        picture(folder / "MontgomerySet" / "CXR_png" / name)
        picture(folder / "MontgomerySet" / "ManualMask" / "leftMask" / name, mask((1, 6)) > 0)
        picture(folder / "MontgomerySet" / "ManualMask" / "rightMask" / name, mask((2, 1)) > 0)
        (folder / "__MACOSX" / "MontgomerySet" / "CXR_png").mkdir(parents=True, exist_ok=True)
        (folder / "__MACOSX" / "MontgomerySet" / "CXR_png" / f"._{name}").write_bytes(b"junk")
    for number in range(1, 5):
        name = f"CHNCXR_{number:04d}_{number % 2}"
        picture(folder / "ChinaSet_AllFiles" / "CXR_png" / f"{name}.png", np.full((5, 8, 3), 9, np.uint8))
        if number < 4:
            picture(folder / "mask" / "mask" / f"{name}_mask.png", mask((3, 3)))
    (folder / "ChinaSet_AllFiles" / "CXR_png" / "Thumbs.db").write_bytes(b"junk")
    return folder


def test_lungs_of_both_sets_are_joined(
    nlm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    before = tree(nlm)
    out = tmp_path / "out"
    run_program(monkeypatch, "prepare_lungs", "--dataset_dir", nlm, "--output", out, "--training", 2, "--validation", 1)
    assert tree(nlm) == before
    content = read_datalist(out / "dataset.json")
    assert [len(content[name]) for name in ("training", "validation", "test")] == [2, 1, 5]
    assert content["labels"] == {"0": "lungs"}
    found = labels_of(out)
    montgomery = found["MontgomerySet/CXR_png/MCUCXR_0001_1.png"]
    assert montgomery.shape == (1, 8, 5)
    assert montgomery.nonzero()[1].tolist() == [1, 6]
    assert montgomery.nonzero()[2].tolist() == [2, 1]
    assert found["ChinaSet_AllFiles/CXR_png/CHNCXR_0003_1.png"].nonzero()[1].tolist() == [3]
    printed = capsys.readouterr().out
    assert "1 images without masks left out." in printed
    assert [line.split()[2:4] for line in printed.splitlines() if line.startswith("Shenzhen")] == [
        ["4", "662"],
        ["masks", "3"],
    ]


def test_a_lung_without_the_other_is_a_defect(
    nlm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (nlm / "MontgomerySet/ManualMask/rightMask/MCUCXR_0002_0.png").unlink()
    picture(nlm / "mask/mask/CHNCXR_0001_1_mask.png", mask(shape=(5, 9)))
    before = tree(tmp_path)
    with pytest.raises(InputError, match="2 of 8 images or their masks"):
        run_program(monkeypatch, "prepare_lungs", "--dataset_dir", nlm, "--check")
    printed = capsys.readouterr().out
    assert "MCUCXR_0002_0.png has none of the other lung in rightMask." in printed
    assert "CHNCXR_0001_1_mask.png has 9 x 5 pixels, its image" in printed
    assert tree(tmp_path) == before


def test_a_set_that_is_there_twice_is_refused(nlm: Path) -> None:
    picture(nlm / "copy" / "CXR_png" / "MCUCXR_0001_1.png")
    with pytest.raises(InputError, match=r"CXR_png/MCUCXR_0001_1.png and copy/CXR_png/MCUCXR_0001_1.png"):
        lungs.prepare(nlm)
    with pytest.raises(InputError, match="has no image in a folder CXR_png with its mask"):
        lungs.prepare(nlm / "mask")


def qu_ex(folder: Path, part: str = "Infection Segmentation Data") -> Path:
    """Four images to train, two to validate and two to test, of each group; infection is drawn for COVID-19 alone."""
    for split, count in (("Train", 4), ("Val", 2), ("Test", 2)):
        for group in ("COVID-19", "Non-COVID", "Normal"):
            place = folder / part / part / split / group
            for number in range(count):
                name = f"{split.lower()}_{group.lower()}_{number}.png"
                picture(place / "images" / name)
                picture(place / "lung masks" / name, mask((1, 1), (2, 2)))
                if group == "COVID-19" and "Infection" in part:
                    picture(place / "infection masks" / name, mask((4, 7)))
    return folder


def test_infection_keeps_the_owners_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = qu_ex(tmp_path / "covidqu")
    before = tree(folder)
    run_program(monkeypatch, "prepare_covid", "--dataset_dir", folder, "--output", tmp_path / "out")
    assert tree(folder) == before
    content = read_datalist(tmp_path / "out" / "dataset.json")
    assert [len(content[name]) for name in ("training", "validation", "test")] == [4, 2, 2]
    assert all("/Val/COVID-19/images/" in record["image"] for record in content["validation"])
    for found in labels_of(tmp_path / "out").values():
        assert found.nonzero()[1].tolist() == [7]


def test_images_without_covid_have_no_infection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = qu_ex(tmp_path / "covidqu")
    arguments = ["--classes", "lungs,infection", "--groups", "Normal,COVID-19", "--training", 3]
    run_program(monkeypatch, "prepare_covid", "--dataset_dir", folder, "--output", tmp_path / "out", *arguments)
    content = read_datalist(tmp_path / "out" / "dataset.json")
    assert content["labels"] == {"0": "infection", "1": "lungs"}
    assert [len(content[name]) for name in ("training", "validation", "test")] == [3, 4, 4]
    for image, found in labels_of(tmp_path / "out").items():
        assert found[0].sum() == ("COVID-19" in image)
        assert found[1].sum() == 2


def test_lungs_of_covid_qu_ex_are_of_all_groups(tmp_path: Path) -> None:
    prepared = covid.prepare(qu_ex(tmp_path, "Lung Segmentation Data"), classes="lungs")
    assert [(count.found, count.published) for count in prepared.counts] == [(8, 11956), (8, 11263), (8, 10701)]
    assert len(prepared.images) == 24


def test_a_covid_image_without_its_mask_is_left_out_and_named(tmp_path: Path) -> None:
    folder = qu_ex(tmp_path)
    root = folder / "Infection Segmentation Data/Infection Segmentation Data"
    (root / "Test/COVID-19/infection masks/test_covid-19_0.png").unlink()
    prepared = covid.prepare(folder)
    assert len(prepared.images) == 7
    (missing,) = prepared.missing
    assert "test_covid-19_0.png has no mask in" in missing


@pytest.fixture
def qata(tmp_path: Path) -> Path:
    """Ten patients with two images and one without a patient's name to learn from; two images to test."""
    folder = tmp_path / "QaTa-COV19"
    names = [f"sub-S0{number:04d}_ses-E0{image}_run-1_bp-chest_vp-ap_dx" for number in range(10) for image in range(2)]
    for split, images in (("Train Set", [*names, "covid_1"]), ("Test Set", ["sub-S09999_ses-E01", "covid_7"])):
        for name in images:
            picture(folder / "QaTa-COV19-v2" / split / "Images" / f"{name}.png")
            picture(folder / "QaTa-COV19-v2" / split / "Ground-truths" / f"mask_{name}.png", mask((2, 5)))
    return folder


def test_qata_is_validated_on_other_patients(qata: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    run_program(monkeypatch, "prepare_covid", "--dataset_dir", qata, "--output", out, "--validation", 6)
    content = read_datalist(out / "dataset.json")
    assert [len(content[name]) for name in ("training", "validation", "test")] == [15, 6, 2]
    patients = [{Path(record["image"]).name[:10] for record in content[name]} for name in ("training", "validation")]
    assert not patients[0] & patients[1]
    assert all(found.nonzero()[2].tolist() == [2] for found in labels_of(out).values())


def test_qata_names_what_is_lost_and_who_is_in_both_sets(qata: Path) -> None:
    root = qata / "QaTa-COV19-v2"
    (root / "Train Set/Ground-truths/mask_covid_1.png").unlink()
    (root / "Test Set/Images/covid_7.png").unlink()
    picture(root / "Test Set/Images/sub-S00003_ses-E07.png")
    picture(root / "Test Set/Ground-truths/mask_sub-S00003_ses-E07.png", mask())
    prepared = covid.prepare(qata)
    assert prepared.notes == ["1 patients are in both sets of the owner, such as sub-S00003."]
    assert [sentence.split("/")[-1] for sentence in prepared.missing] == [
        "mask_covid_1.png does not exist.",
        "mask_covid_7.png has no image in Images.",
    ]
    with pytest.raises(InputError, match="masks of infection alone"):
        covid.prepare(qata, classes="lungs")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "has neither 'Infection Segmentation Data/Infection Segmentation Data/Train/COVID-19/images'"),
        ({"classes": "lung"}, "classes has 'lung'; it must be of infection, lungs"),
        ({"classes": ("lungs", "heart")}, "classes has 'heart'"),
    ],
)
def test_no_such_set_or_class_is_one_sentence(tmp_path: Path, options: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        covid.prepare(tmp_path, **options)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Twelve images of six patients in folders of their own; the heart is drawn in half of them."""
    folder = tmp_path / "own"
    for number in range(12):
        name = f"p{number // 2}/{number % 2}"
        picture(folder / "images" / f"{name}.jpg")
        picture(folder / "right" / f"{name}.png", mask((1, 1)))
        picture(folder / "left" / f"{name}_mask.png", mask((1, 6)))
        if number % 2:
            picture(folder / "heart" / f"p{number // 2}" / f"mask_{number % 2}.bmp", mask((3, 4)))
    picture(folder / "images" / "nobody.png")
    return folder


def test_own_masks_are_found_by_name(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    run_program(
        monkeypatch,
        "prepare_folder",
        *("--dataset_dir", own, "--images", "images", "--masks", "lungs=right+left,heart", "--output", out),
        *("--empty_if_absent", "--patient", "p[0-9]+", "--training", 4, "--validation", 2),
    )
    content = read_datalist(out / "dataset.json")
    assert content["labels"] == {"0": "lungs", "1": "heart"}
    sections = {name: {record["image"].split("/")[1] for record in content[name]} for name in ("training", "test")}
    assert [len(content[name]) for name in ("training", "validation", "test")] == [4, 2, 6]
    assert not sections["training"] & sections["test"]
    for image, found in labels_of(out).items():
        assert found[0].nonzero()[0].tolist() == [1, 6]
        assert found[1].sum() == int(image.endswith("1.jpg"))


def test_an_absent_mask_is_a_defect_unless_it_means_empty(own: Path) -> None:
    prepared = prepare_mask_folders(own, "images", {"heart": ["heart"], "lungs": ["right"]}, name="own")
    assert len(prepared.images) == 6
    assert len(prepared.missing) == 6
    assert prepared.notes == ["1 images without any mask left out."]


def test_own_lungs_are_a_folder_a_side(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    arguments = ["--images", "images", "--masks", "right+left", "--patient", "p[0-9]+", "--seed", 1]
    run_program(monkeypatch, "prepare_lungs", "--dataset_dir", own, "--output", out, *arguments)
    assert all(found.sum() == 2 for found in labels_of(out).values())
    with pytest.raises(InputError, match="Give both images and masks"):
        run_program(monkeypatch, "prepare_lungs", "--dataset_dir", own, "--output", out, "--masks", "right")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"images": "../images"}, r"images: the path '../images' leads out of the data set"),
        ({"classes": {"a": ["/etc"]}}, r"masks: the path '/etc' leads out of the data set"),
        ({"classes": {"a": ["none"]}}, r"The folder .*none does not exist"),
        ({"patient": "("}, r"The expression '\(' for patients cannot be read"),
        ({"patient": "x+"}, r"The expression 'x\+' for patients finds nothing in images/p0/0.jpg"),
        ({"images": "heart", "classes": {"a": ["right"]}, "training": 30, "validation": 1}, r"30 training and 1"),
    ],
)
def test_a_wrong_option_is_one_sentence(own: Path, options: dict, sentence: str) -> None:
    arguments: dict = {"images": "images", "classes": {"lungs": ["right"]}, "name": "own", **options}
    with pytest.raises(InputError, match=sentence):
        prepare_mask_folders(own, **arguments)


def test_masks_may_be_named_after_their_class_or_folder(own: Path) -> None:
    for path in (own / "heart").rglob("*.bmp"):
        path.rename(path.with_name(f"{path.stem.removeprefix('mask_')}_ventricles.bmp"))
    for path in (own / "right").rglob("*.png"):
        path.rename(path.with_name(f"RIGHT-{path.name}"))
    prepared = prepare_mask_folders(own, "images", {"ventricles": ["heart"], "lungs": ["right", "left"]}, name="own")
    assert {image.image for image in prepared.images} == {f"images/p{number}/1.jpg" for number in range(6)}


@pytest.mark.skipif(not REAL.is_dir(), reason="the development images in ../shared/data are absent")
def test_real_images_and_masks_are_paired() -> None:
    prepared = prepare_mask_folders(REAL, "images", {"lungs": ["masks"]}, name="real")
    assert [count.found for count in prepared.counts] == [281, 281, 281]
    assert not prepared.missing
    assert not prepared.notes
    assert label_of(prepared.images[0], prepared)[0].any()


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "a_mask.bmp")
    with pytest.raises(InputError, match=r"a.png and .*a_mask.bmp have the same name"):
        files_by_name(tmp_path)


def test_a_nifti_image_keeps_its_geometry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    affine = np.diag([0.2, 0.3, 1.0, 1.0])
    (tmp_path / "own" / "images").mkdir(parents=True)
    for number in range(3):
        nib.Nifti1Image(np.ones((8, 5), np.int16), affine).to_filename(tmp_path / f"own/images/{number}.nii.gz")
        picture(tmp_path / f"own/heart/{number}.png", mask((3, 4)))
    arguments = ["--images", "images", "--masks", "heart", "--training", 1, "--validation", 1]
    run_program(
        monkeypatch, "prepare_folder", "--dataset_dir", tmp_path / "own", "--output", tmp_path / "out", *arguments
    )
    (record,) = read_datalist(tmp_path / "out" / "dataset.json")["test"]
    image = nib.Nifti1Image.from_filename(tmp_path / "out" / record["label"])
    assert image.shape == (8, 5, 1, 1)
    assert np.allclose(image.affine, affine)


def test_masks_below_the_folder_of_the_images_are_no_images(own: Path) -> None:
    (own / "heart").rename(own / "images" / "heart")
    prepared = prepare_mask_folders(own / "images", ".", {"heart": ["heart"]}, name="own")
    assert {image.image for image in prepared.images} == {f"p{number}/1.jpg" for number in range(6)}
    assert prepared.counts[0].found == 13


def test_a_mask_belongs_to_the_image_of_its_whole_name_first(tmp_path: Path) -> None:
    for name in ("1", "covid_1", "covid_2"):
        picture(tmp_path / "images" / f"{name}.png")
    for name in ("covid_1", "covid_2"):
        picture(tmp_path / "covid" / f"{name}.png", mask((0, 0)))
    found = prepare_mask_folders(
        tmp_path, "images", {"infection": ["covid"]}, name="own", training=1, validation=1, test=None
    )
    assert {image.image: image.masks for image in found.images} == {
        f"images/{name}.png": {"infection": [f"covid/{name}.png"]} for name in ("covid_1", "covid_2")
    }
    picture(tmp_path / "covid" / "1.png", mask((0, 0)))
    picture(tmp_path / "covid" / "1_covid.png", mask((0, 0)))
    with pytest.raises(InputError, match="would both be the mask of"):
        prepare_mask_folders(tmp_path, "images", {"infection": ["covid"]}, name="own", training=1, validation=1)


def test_a_image_that_is_shown_turned_has_masks_as_shown(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    exif = Image.Exif()
    exif[274] = 6
    Image.new("L", (30, 40)).save(tmp_path / "images" / "a.jpg", exif=exif)
    picture(tmp_path / "masks" / "a.png", mask((0, 0), shape=(30, 40)))
    prepared = prepare_mask_folders(tmp_path, "images", {"lungs": ["masks"]}, name="own", training=1, validation=0)
    assert label_of(prepared.images[0], prepared)[0].shape == (40, 30, 1, 1)
    assert LoadRadiographd()({"image": tmp_path / "images" / "a.jpg"})["image"].shape == (1, 40, 30)


def test_several_pages_are_no_image(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    page = Image.new("L", (8, 5))
    page.save(tmp_path / "images" / "a.tif", save_all=True, append_images=[page])
    picture(tmp_path / "masks" / "a.png", mask((0, 0)))
    prepared = prepare_mask_folders(tmp_path, "images", {"lungs": ["masks"]}, name="own", training=1, validation=0)
    with pytest.raises(InputError, match=r"a\.tif has 2 pages"):
        label_of(prepared.images[0], prepared)
