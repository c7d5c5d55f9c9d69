"""A small PSPNet and a checkpoint of it for every test of this folder."""

from collections.abc import Callable

import pytest

import small_pspnet

pretrained = small_pspnet.pretrained


@pytest.fixture
def train() -> Callable[..., None]:
    return small_pspnet.train


@pytest.fixture
def pspnet() -> Callable[..., small_pspnet.PSPNet]:
    return small_pspnet.small_pspnet
