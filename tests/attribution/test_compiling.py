"""Compiling is decided by the data set, not by what is left of it."""

from __future__ import annotations

import shutil

import torch

from doll_monai.attribution import can_compile, compile_pays
from doll_monai.attribution.compiling import MANY_IMAGES

CPU = torch.device("cpu")


def test_compiling_pays_for_many_images_where_there_is_a_compiler(monkeypatch) -> None:
    many = {"training": range(MANY_IMAGES - 1), "validation": range(1)}
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/g++" if name == "g++" else None)
    assert can_compile(CPU)
    assert compile_pays(many, CPU)
    assert not compile_pays({"training": range(MANY_IMAGES - 1)}, CPU)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert not compile_pays(many, CPU)


def test_an_unknown_device_is_not_compiled_for() -> None:
    assert not can_compile(torch.device("meta"))
