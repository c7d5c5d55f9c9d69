"""DICOM images, from a folder and from a server of DICOMweb."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
import requests
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from serving import free_port, start_server, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
FINDINGS = "doll_cxr_segmentation"
SOP_CLASSES = {"CR": "1.2.840.10008.5.1.4.1.1.1", "DX": "1.2.840.10008.5.1.4.1.1.1.1"}
PATIENT = Dataset()
PATIENT.PatientName, PATIENT.PatientID, PATIENT.PatientSex = "Doe^Jane", "SECRET-4711", "F"
PATIENT.PatientBirthDate, PATIENT.StudyDate, PATIENT.StudyTime = "19500101", "20200102", "101112"
PATIENT.StudyID, PATIENT.SeriesNumber, PATIENT.InstanceNumber, PATIENT.AccessionNumber = "1", "1", "1", "77"
PATIENT.ReferringPhysicianName = ""
GroundTruth = tuple[Path, dict[str, np.ndarray]]


@pytest.fixture(scope="module")
def grey(truth: GroundTruth) -> np.ndarray:
    """One image, (H, W)."""
    return np.asarray(Image.open(sorted(truth[0].glob("*.jpg"))[0]).convert("L"))


def write_image(path: Path, grey: np.ndarray, modality: str, photometric: str, bits: int = 12) -> pydicom.Dataset:
    """A single frame with rescale and window, as detectors write them, from a picture, (H, W) ``uint8``."""
    top = (1 << bits) - 1
    stored = (grey.astype(np.uint32) * top // 255).astype(np.uint16)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    image.update(PATIENT)
    image.SOPClassUID, image.Modality = SOP_CLASSES[modality], modality
    image.SOPInstanceUID, image.StudyInstanceUID, image.SeriesInstanceUID = (generate_uid() for _ in range(3))
    image.Rows, image.Columns, image.SamplesPerPixel = *grey.shape, 1
    image.PhotometricInterpretation, image.PixelRepresentation = photometric, 0
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, bits, bits - 1
    image.RescaleSlope, image.RescaleIntercept, image.RescaleType = "2", "-5", "US"
    image.WindowCenter, image.WindowWidth = str(1 << bits), str(1 << bits)
    image.PixelData = (top - stored if photometric == "MONOCHROME1" else stored).tobytes()
    image.is_little_endian, image.is_implicit_VR = True, False
    image.save_as(path, write_like_original=False)
    return image


def _check_seg(seg: pydicom.Dataset, image: pydicom.Dataset, mask: np.ndarray) -> None:
    """Whether a DICOM SEG has the lungs and the heart of a mask and refers to its image."""
    assert seg.Modality == "SEG"
    assert seg.StudyInstanceUID == image.StudyInstanceUID
    assert seg.PatientID == image.PatientID
    (series,) = seg.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == image.SeriesInstanceUID
    assert series.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == image.SOPInstanceUID
    assert [segment.SegmentLabel for segment in seg.SegmentSequence] == ["lungs", "heart"]
    frames = seg.pixel_array
    assert np.array_equal(frames[0] > 0, (mask & 1) > 0)
    assert np.array_equal(frames[1] > 0, (mask & 2) > 0)


def _overlapping(shape: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    mask[10 : shape[0] // 2, 20 : shape[1] // 2] = 1
    mask[shape[0] // 3 :, shape[1] // 3 :] |= 2
    return mask


def test_folder_of_dicom(grey: np.ndarray, run_folder: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    kinds = [("CR", "MONOCHROME1", 12), ("DX", "MONOCHROME2", 12), ("DX", "MONOCHROME1", 16), ("CR", "MONOCHROME2", 14)]
    written = {}
    for number, (modality, photometric, bits) in enumerate(kinds):
        name = f"{modality}_{photometric}_{bits}"
        written[name] = write_image(images / (name + (".dcm", ".DCM")[number % 2]), grey, modality, photometric, bits)
    with start_server(str(images), tmp_path / "output", run_folder) as server:
        assert server.get("/info/")["datastore"]["total"] == len(kinds)
        masks = [server.infer(name, FINDINGS, finding="Lung Opacity") for name in written]
        assert all(mask.shape == grey.shape for mask in masks)
        assert all((mask != masks[0]).mean() < 0.01 for mask in masks[1:])
        pictures = [server.ask("GET", f"/doll/image?image={name}").content for name in written]
        shown = [np.asarray(Image.open(io.BytesIO(picture))).astype(int) for picture in pictures]
        assert all(np.abs(image - shown[0]).mean() < 1.5 for image in shown[1:])
        name, mask = "DX_MONOCHROME2_12", _overlapping(grey.shape)
        assert server.save(name, mask, classes=["lungs", "heart"]).status_code == 200
        answer = server.ask("GET", f"/doll/seg?image={name}")
        assert answer.status_code == 200, answer.text
        _check_seg(pydicom.dcmread(io.BytesIO(answer.content)), written[name], mask)
        bare = "CR_MONOCHROME2_14"  # de-identified: attributes are missing, or in no valid form
        for attribute in PATIENT.dir():
            delattr(written[bare], attribute)
        written[bare].StudyDate, written[bare].PatientSex = "0000", "U"
        written[bare].save_as(images / f"{bare}.DCM", write_like_original=False)
        assert server.save(bare, mask, classes=["lungs", "heart"]).status_code == 200
        seg = pydicom.dcmread(io.BytesIO(server.ask("GET", f"/doll/seg?image={bare}").content))
        assert not any(seg[attribute].value for attribute in PATIENT.dir() if attribute[:2] in ("Pa", "St", "Ac"))
        assert np.array_equal(seg.pixel_array[1] > 0, (mask & 2) > 0)
        assert "no final label yet" in server.ask("GET", "/doll/seg?image=CR_MONOCHROME1_12").json()["detail"]
        texts = [path for folder in (server.output, images) for path in folder.rglob("*.json")]
        _check_private([tmp_path / "output.log", *server.output.rglob("*.log"), *texts])


def _check_private(paths: list[Path]) -> None:
    """Whether nothing of the patient is in these files."""
    assert len(paths) > 2
    for path in paths:
        text = path.read_text()
        assert not [word for word in ("SECRET-4711", "Doe", "Jane", "19500101", "20200102") if word in text], path


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen]]:
    """A running Orthanc with DICOMweb: its address and its process."""
    program = shutil.which("Orthanc", path="/usr/sbin:/usr/bin:/usr/local/bin")
    plugins = sorted(Path("/usr/lib/orthanc").glob("libOrthancDicomWeb*")) if program else []
    plugins = plugins or sorted(Path("/usr/share/orthanc/plugins").glob("libOrthancDicomWeb*"))
    if program is None or not plugins:
        pytest.skip("Orthanc and its DICOMweb plugin are not installed (Debian: orthanc, orthanc-dicomweb)")
    port = free_port()
    settings = {
        "HttpPort": port,
        "DicomServerEnabled": False,
        "StorageDirectory": str(tmp_path / "orthanc"),
        "IndexDirectory": str(tmp_path / "orthanc"),
        "Plugins": [str(plugins[-1])],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (tmp_path / "orthanc.json").write_text(json.dumps(settings))
    with (tmp_path / "orthanc.log").open("w") as log:
        process = subprocess.Popen([program, str(tmp_path / "orthanc.json")], stdout=log, stderr=subprocess.STDOUT)

    def answers() -> bool:
        assert process.poll() is None, (tmp_path / "orthanc.log").read_text()[-2000:]
        try:
            return requests.get(f"http://127.0.0.1:{port}/system", timeout=5).ok
        except OSError:
            return False

    try:
        wait_for(answers)
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.terminate()
        process.wait(20)


def test_images_and_labels_over_dicomweb(
    orthanc: tuple[str, subprocess.Popen], grey: np.ndarray, run_folder: Path, tmp_path: Path
) -> None:
    address, process = orthanc
    images = [
        write_image(tmp_path / f"{number}.dcm", grey, modality, photometric)
        for number, (modality, photometric) in enumerate((("CR", "MONOCHROME1"), ("DX", "MONOCHROME2")))
    ]
    for number in range(len(images)):
        requests.post(f"{address}/instances", data=(tmp_path / f"{number}.dcm").read_bytes(), timeout=30)
    with start_server(f"{address}/dicom-web", tmp_path / "output", run_folder) as server:
        series = {str(image.SeriesInstanceUID): image for image in images}
        assert server.get("/info/")["datastore"]["total"] == 2
        masks = [server.infer(uid, FINDINGS, finding="Lung Opacity") for uid in series]
        assert (masks[0] != masks[1]).mean() < 0.01
        uid, mask = list(series)[1], _overlapping(grey.shape)
        answer = server.save(uid, mask, classes=["lungs", "heart"])
        assert answer.status_code == 200, answer.text
        assert len(requests.get(f"{address}/dicom-web/series?Modality=SEG", timeout=30).json()) == 1
        instances = requests.get(f"{address}/instances", timeout=30).json()
        stored = [requests.get(f"{address}/instances/{name}/file", timeout=30).content for name in instances]
        (seg,) = (item for content in stored if (item := pydicom.dcmread(io.BytesIO(content))).Modality == "SEG")
        _check_seg(seg, series[uid], mask)
        left = server.ask("POST", "/activelearning/first", json={}).json()["id"]
        assert left == next(iter(series))
        process.terminate()
        process.wait(20)
        answer = server.save(left, mask, classes=["lungs", "heart"])
        assert answer.status_code == 200, answer.text
        assert server.info(left)["seg_pending"] is True
        assert server.info(uid)["seg_pending"] is False
        assert "The server of the images does not answer" in server.ask("GET", "/doll/images").json()["detail"]
        texts = [path for path in server.output.rglob("*") if path.suffix in (".log", ".json")]
        _check_private([tmp_path / "output.log", *texts])
        assert not list((server.output / "tmp").rglob("*.dcm"))
