"""Sums over stacks of gradients, whatever their layout in memory."""

from __future__ import annotations

import pytest
import torch

from doll_monai.attribution.sums import scalar_products, weighted_sum


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_sums_are_those_of_their_definition(layout: torch.memory_format) -> None:
    stack = torch.randn(5, 3, 4, 6, dtype=torch.float64).contiguous(memory_format=layout)
    weights, other = torch.rand(5, dtype=torch.float64), torch.randn(3, 4, 6, dtype=torch.float64)
    torch.testing.assert_close(weighted_sum(weights, stack), (weights.view(-1, 1, 1, 1) * stack).sum(0))
    torch.testing.assert_close(scalar_products(stack, other), (stack * other).sum((1, 2, 3)))
