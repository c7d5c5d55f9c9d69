"""Compiling is decided by the data set, not by what is left of it."""

from __future__ import annotations

import pytest
import torch

from doll_monai.attribution import compiling
from doll_monai.attribution.compiling import can_compile, compile_pays

GPU = torch.device("cuda")


@pytest.mark.parametrize("triton", [True, False])
def test_compiling_pays_for_many_images_on_a_gpu_with_triton(triton: bool, monkeypatch) -> None:
    many = {"training": range(compiling.MANY_IMAGES - 1), "validation": range(1)}
    monkeypatch.setattr(compiling, "has_triton", lambda: triton)
    assert can_compile(GPU) == triton
    assert compile_pays(many, GPU) == triton
    assert not compile_pays({"training": range(compiling.MANY_IMAGES - 1)}, GPU)
    assert not compile_pays(many, torch.device("cpu"))
