"""Support devices of the phantom: tubes, lines, pacemakers, electrodes, wires of the breast bone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageFilter
from scipy.interpolate import PchipInterpolator

from doll_tools.phantom.anatomy import SIDES, Anatomy, Stroke

PLATE = 0.0
"""Width of a stroke whose inside is filled."""


def draw_devices(rng: np.random.Generator, anatomy: Anatomy) -> tuple[np.ndarray, np.ndarray]:
    """Draw one to three kinds of devices.

    Returns:
        added attenuation (H, W) float32, and its mask (H, W) bool, a little wider than thin lines.
    """
    kinds = rng.choice(len(DEVICES), size=rng.integers(1, 4), replace=False)
    strokes = [stroke for kind in sorted(kinds) for stroke in DEVICES[kind](rng, anatomy)]
    added = 0.42 * anatomy.canvas.strokes([stroke for stroke in strokes if stroke[1] != PLATE])
    if plates := [stroke for stroke in strokes if stroke[1] == PLATE]:
        added = np.maximum(added, 0.6 * anatomy.canvas.strokes(plates, filled=True))
    drawn = Image.fromarray((added > 0.05).astype(np.uint8) * 255).filter(ImageFilter.MaxFilter(3))
    return added, np.asarray(drawn) > 0


def smooth(points: list[tuple[float, float]], count: int = 24) -> np.ndarray:
    """Smooth line (count, 2) through a few points."""
    fixed = np.array(points)
    knots = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(fixed, axis=0).T))])
    line: np.ndarray = PchipInterpolator(knots, fixed)(np.linspace(0, knots[-1], count))
    return line


def _disc(center: tuple[float, float], radius: float, stretch: float = 1.0) -> np.ndarray:
    """Outline (20, 2) of an ellipse."""
    turns = np.linspace(0, 2 * np.pi, 20)
    return np.stack([center[0] + radius * np.cos(turns), center[1] + radius * stretch * np.sin(turns)], axis=1)


def _tube(line: np.ndarray, width: float, level: float) -> list[Stroke]:
    """A hollow tube with a dense stripe along its middle."""
    return [(line, width, 0.7 * level), (line, 0.6 * width, 0.45 * level), (line, 0.25 * width, min(1.0, 1.7 * level))]


def _endotracheal_tube(rng: np.random.Generator, anatomy: Anatomy) -> Iterator[Stroke]:
    x = anatomy.turn * 0.5
    path = smooth([(x + rng.normal(0, 0.05), -1.1), (x + 0.02, -0.3), (x, rng.uniform(0.25, 0.5))])
    yield from _tube(path, 0.075, 0.6)


def _gastric_tube(rng: np.random.Generator, anatomy: Anatomy) -> Iterator[Stroke]:
    floor = anatomy.domes[1]
    end = (rng.uniform(0.3, 0.6), floor + rng.uniform(0.25, 0.4))
    path = [(rng.normal(0, 0.05), -1.1), (-0.03, 0.1), (0.03, 0.7), (0.05, 1.3), (0.1, floor + 0.05), end]
    yield from _tube(smooth(path), 0.045, 0.6)


def _central_line(rng: np.random.Generator, anatomy: Anatomy) -> Iterator[Stroke]:
    tip = (-0.14 + anatomy.turn, rng.uniform(0.7, 1.05))
    neck = [(-0.32, -0.7), (-0.2, -0.1), (-0.15, 0.4), tip]
    arm = [(-1.6, 0.75), (-1.3, 0.36), (-0.75, 0.2), (-0.3, 0.26), (-0.15, 0.5), tip]
    left = [(1.0, 0.5), (0.8, 0.27), (0.35, 0.27), (0.0, 0.42), (-0.12, 0.58), tip]
    path = (neck, arm, left)[rng.integers(3)]
    yield smooth(path), 0.028, 0.75
    if path is left and rng.random() < 0.6:
        yield _disc((1.0, 0.5), 0.1), PLATE, 0.6


def _pacemaker(rng: np.random.Generator, anatomy: Anatomy) -> Iterator[Stroke]:
    side = 1 if rng.random() < 0.85 else -1
    x, y = side * rng.uniform(0.72, 0.9), rng.uniform(0.35, 0.5)
    yield _disc((x, y), rng.uniform(0.15, 0.19), rng.uniform(0.8, 1.1)), PLATE, 1.0
    yield _disc((x, y - 0.12), 0.07, 0.7), PLATE, 0.8
    entry = [(x - side * 0.1, y - 0.1), (side * 0.45, 0.24), (side * 0.12, 0.4), (-0.14, 0.65)]
    apex = [(-0.2, 1.1), (-0.1, 1.45), (0.6 * anatomy.person.heart, anatomy.domes[1] - 0.05)]
    for end in (apex, [(-0.23, 1.0), (-0.25, 1.2), (-0.16, 1.1)])[: rng.integers(1, 3)]:
        lead = smooth(entry + end, 40)
        yield lead, 0.028, 0.9
        yield lead[-3:], 0.045, 1.0


def _electrodes(rng: np.random.Generator, anatomy: Anatomy) -> Iterator[Stroke]:
    for side in SIDES:
        for height in (rng.uniform(0.25, 0.5), rng.uniform(1.3, 1.7)):
            spot = (side * rng.uniform(0.65, 1.0), height)
            yield _disc(spot, 0.05), PLATE, 0.35
            yield _disc(spot, 0.022), PLATE, 0.8
            middle = (spot[0] * rng.uniform(0.3, 0.9), height + rng.uniform(0.2, 0.5))
            yield smooth([spot, middle, (rng.uniform(-0.4, 0.4), 2.9)]), 0.02, 0.6


def _chest_tube(rng: np.random.Generator, anatomy: Anatomy) -> Iterator[Stroke]:
    side = int(rng.choice(SIDES))
    end = (side * rng.uniform(0.4, 0.6), rng.uniform(0.15, 0.5))
    path = smooth([(side * 1.4, 1.75), (side * 1.05, rng.uniform(1.25, 1.45)), (side * 0.8, 0.85), end])
    yield from _tube(path, 0.06, 0.55)


def _sternal_wires(rng: np.random.Generator, anatomy: Anatomy) -> Iterator[Stroke]:
    for height in np.arange(0.35, 1.35, rng.uniform(0.15, 0.2)):
        x = anatomy.turn + rng.normal(0, 0.012)
        yield _disc((x, float(height)), 0.055, 0.55), 0.02, 0.95
        yield np.array([[x, height], [x + 0.03, height + 0.03]]), 0.03, 1.0


DEVICES = (
    *(_endotracheal_tube, _gastric_tube, _central_line, _pacemaker),
    *(_electrodes, _chest_tube, _sternal_wires),
)
