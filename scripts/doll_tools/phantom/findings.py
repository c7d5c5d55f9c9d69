"""Findings of the phantom: which ones an image has, and the change each makes to the healthy chest.

A change in the lung is a *fill*: the share (0..1) of the air replaced by something dense, so that overlapping findings
saturate and borders vanish as they do on an image. A change elsewhere is *added* attenuation. The mask of a finding is
where its change is notable; outside its ``Change`` a finding leaves the image as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from doll_tools.phantom.anatomy import HILUM_V, SIDES, Anatomy, cloud, ramp
from doll_tools.phantom.devices import draw_devices, smooth

OPACITIES = ("Lung Lesion", "Edema", "Consolidation", "Pneumonia", "Atelectasis")
"""Observations that are a Lung Opacity too, as in the hierarchy of CheXpert."""

RATES: dict[str, float] = {
    **{"Enlarged Cardiomediastinum": 0.15, "Cardiomegaly": 0.24, "Lung Opacity": 0.08, "Lung Lesion": 0.16},
    **{"Edema": 0.15, "Consolidation": 0.15, "Pneumonia": 0.14, "Atelectasis": 0.15, "Pneumothorax": 0.18},
    **{"Pleural Effusion": 0.22, "Pleural Other": 0.13, "Fracture": 0.15},
}
"""Share of the images with any disease that has each finding; Lung Opacity is for one that is nothing more specific."""

NORMAL_SHARE = 0.27
PURE_SHARE = 0.25
"""Share of images without devices and with at most one disease."""
DEVICE_SHARE = 0.36
SUBTLE_SHARE = 0.15
NOTABLE = 0.25
"""A change counts as notable where it reaches this share of its own usual maximum (its 95th percentile)."""
FAINTEST = 0.02
"""... and at least this attenuation, about four gray values."""


@dataclass
class Change:
    """What one finding does to the image; every map is (H, W)."""

    mask: np.ndarray  # where the change is notable
    fill: np.ndarray | float = 0.0  # share of the air that is replaced, 0..1
    added: np.ndarray | float = 0.0  # attenuation added or, where negative, removed
    collapse: np.ndarray | float = 0.0  # 1 where the lung has left the chest wall and only air is there


def choose_findings(rng: np.random.Generator) -> dict[str, float]:
    """Choose the findings of an image and the severity of each, 0..1 (below 0.5: subtle)."""
    pure = rng.random() < PURE_SHARE
    names, rates = list(RATES), np.array(list(RATES.values()))
    chosen: list[str] = []
    if rng.random() >= NORMAL_SHARE:
        if pure:
            chosen = [names[rng.choice(len(names), p=rates / rates.sum())]]
        while not chosen:
            chosen = [names[index] for index in np.flatnonzero(rng.random(len(names)) < rates)]
    if not pure and rng.random() < DEVICE_SHARE / (1 - PURE_SHARE):
        chosen.append("Support Devices")
    ends = ((0.3, 0.5) if rng.random() < SUBTLE_SHARE else (0.65, 1.0) for _ in chosen)
    return {name: float(rng.uniform(*severities)) for name, severities in zip(chosen, ends, strict=True)}


def notable(change: np.ndarray) -> np.ndarray:
    """Mask of where the attenuation that a finding adds reaches ``NOTABLE`` of its usual maximum."""
    seen = change[change > FAINTEST]
    mask: np.ndarray = change > max(NOTABLE * float(np.quantile(seen, 0.95)) if len(seen) else 0.0, FAINTEST)
    return mask


def _filling(anatomy: Anatomy, fill: np.ndarray) -> Change:
    fill = np.clip(fill, 0, 0.97)
    return Change(mask=notable(fill * anatomy.air), fill=fill)


def _blob(
    anatomy: Anatomy, center: tuple[float, float], radii: tuple[float, float], wobble: np.ndarray | float, soft: float
) -> np.ndarray:
    """Elliptical patch of level 1 with an uneven border: ``soft`` is the width of the border in radii."""
    u, v = anatomy.canvas.u, anatomy.canvas.v
    distance = np.sqrt(((u - center[0]) / radii[0]) ** 2 + ((v - center[1]) / radii[1]) ** 2)
    return ramp((1 + soft / 2 - distance + wobble) / soft)


def _side(rng: np.random.Generator) -> int:
    return int(rng.choice(SIDES))


def enlarged_cardiomediastinum(rng: np.random.Generator, anatomy: Anatomy, severity: float) -> Change:
    """The anatomy was widened already; the mask is the upper mediastinum from the inlet to the top of the heart."""
    v = anatomy.canvas.v
    return Change(mask=anatomy.silhouette & (v > 0.04) & (v < HILUM_V) & ~anatomy.heart)


def cardiomegaly(rng: np.random.Generator, anatomy: Anatomy, severity: float) -> Change:
    """The anatomy was enlarged already; the mask is the heart."""
    return Change(mask=anatomy.heart.copy())


def lung_opacity(rng: np.random.Generator, anatomy: Anatomy, severity: float) -> Change:
    """A hazy area that is nothing more specific."""
    side = _side(rng)
    center = (side * rng.uniform(0.45, 0.7), rng.uniform(0.4, 1.3))
    radii = (rng.uniform(0.25, 0.4), rng.uniform(0.25, 0.45))
    wobble = 0.15 * cloud(rng, anatomy.canvas.shape, 8)
    patch = (0.15 + 0.35 * severity) * _blob(anatomy, center, radii, wobble, 0.9)
    return _filling(anatomy, patch * (side * anatomy.canvas.u > 0))


def lung_lesion(rng: np.random.Generator, anatomy: Anatomy, severity: float) -> Change:
    """One to three round nodules or masses."""
    fill = np.zeros(anatomy.canvas.shape, np.float32)
    for _ in range(rng.integers(1, 4)):
        side = _side(rng)
        height = rng.uniform(0.25, anatomy.domes[side] - 0.2)
        center = (side * rng.uniform(0.42, 0.42 + 0.4 * min(1.0, height)), height)
        radius = 0.03 + 0.1 * severity * rng.uniform(0.7, 1.2)
        wobble = 0.06 * cloud(rng, anatomy.canvas.shape, 24)
        nodule = _blob(anatomy, center, (radius, radius * rng.uniform(0.9, 1.1)), wobble, 0.45)
        fill = np.maximum(fill, rng.uniform(0.55, 0.75) * (0.6 + 0.4 * severity) * nodule)
    return _filling(anatomy, fill)


def edema(rng: np.random.Generator, anatomy: Anatomy, severity: float) -> Change:
    """Haze about both hila, like the wings of a bat, with short lines at the lung's edge."""
    u, v = anatomy.canvas.u, anatomy.canvas.v
    fill = np.zeros(anatomy.canvas.shape, np.float32)
    center = HILUM_V + rng.uniform(0.0, 0.15)
    for side in SIDES:
        x = side * u - 0.42
        wing = np.exp(-((x / rng.uniform(0.28, 0.38)) ** 2) - ((v - center - 0.15 * x) / rng.uniform(0.36, 0.5)) ** 2)
        fill += wing * (side * u > 0)
    mottle = 1 + 0.16 * cloud(rng, anatomy.canvas.shape, 26) + 0.12 * cloud(rng, anatomy.canvas.shape, 50)
    lines = []
    for _ in range(int(16 * severity)):
        side, height = _side(rng), rng.uniform(1.1, 1.6)
        start = side * rng.uniform(0.8, 0.92)
        lines.append((np.array([[start, height], [start + side * 0.1, height + rng.normal(0, 0.01)]]), 0.014, 0.5))
    septa = anatomy.canvas.strokes(lines)
    haze = (0.12 + 0.6 * severity) * np.clip(fill * mottle, 0, 1.2)
    return _filling(anatomy, haze + 0.35 * septa * ramp(8 * fill))


_LOBES = (
    (-1, 0.5, 0.45, 0.5, 0.42),
    (-1, 0.5, 1.15, 0.42, 0.24),
    (-1, 0.62, 1.4, 0.5, 0.36),
    (1, 0.48, 0.5, 0.46, 0.42),
    (1, 0.62, 1.4, 0.46, 0.4),
)
"""Side, center (u, v) and radii of the patches that stand for the lobes."""


def consolidation(rng: np.random.Generator, anatomy: Anatomy, severity: float) -> Change:
    """A dense patch of one lobe, straight along its fissure, with air left in the bronchi."""
    side, x, height, wide, high = _LOBES[rng.integers(len(_LOBES))]
    size = 0.65 + 0.35 * severity
    wobble = 0.14 * cloud(rng, anatomy.canvas.shape, 9) + 0.05 * cloud(rng, anatomy.canvas.shape, 24)
    patch = _blob(anatomy, (side * x, height), (wide * size, high * size), wobble, 0.35)
    fissure = height + (0.5 if height < 1 else -0.5) * high * size
    if rng.random() < 0.6:
        sharp = (fissure - anatomy.canvas.v) / 0.03 + 0.3 * side * anatomy.canvas.u
        patch = patch * ramp(sharp if height < 1 else -sharp)
    root = (side * 0.25, HILUM_V)
    ends = [(side * (x + rng.normal(0, 0.2)), height + rng.normal(0, 0.25)) for _ in range(4)]
    ways = [smooth([root, (side * x, height), end]) for end in ends]
    bronchi = anatomy.canvas.strokes([(way, 0.028, 1.0) for way in ways], blur=0.006)
    fill = (0.4 + 0.52 * severity) * patch * (1 - 0.35 * bronchi)
    return _filling(anatomy, fill * (side * anatomy.canvas.u > 0))


def pneumonia(rng: np.random.Generator, anatomy: Anatomy, severity: float) -> Change:
    """Uneven, mottled patches: one focus, or several at the outer edges of both lungs."""
    texture = 0.75 + 0.3 * cloud(rng, anatomy.canvas.shape, 22) + 0.2 * cloud(rng, anatomy.canvas.shape, 44)
    texture = np.clip(texture, 0.4, 1.3)
    wobble = 0.32 * cloud(rng, anatomy.canvas.shape, 12)
    both = rng.random() < 0.5
    first = _side(rng)
    sides = [first, -first, first][: rng.integers(2, 4)] if both else [first]
    fill = np.zeros(anatomy.canvas.shape, np.float32)
    for side in sides:
        x = rng.uniform(0.66, 0.82) if both else rng.uniform(0.42, 0.7)
        center = (side * x, rng.uniform(0.65 if both else 0.8, 1.4))
        size = rng.uniform(0.2, 0.28) * (0.75 + 0.35 * severity)
        radii = (size * rng.uniform(0.85, 1.1), size * rng.uniform(0.95, 1.4))
        fill = np.maximum(fill, _blob(anatomy, center, radii, wobble, 0.7) * (side * anatomy.canvas.u > 0))
    return _filling(anatomy, (0.22 + 0.55 * severity) * fill * texture)


def atelectasis(rng: np.random.Generator, anatomy: Anatomy, severity: float) -> Change:
    """Plate-like bands above the diaphragm, or a collapsed base with a straight upper edge."""
    u, v = anatomy.canvas.u, anatomy.canvas.v
    side = _side(rng)
    dome = anatomy.domes[side]
    fill = np.zeros(anatomy.canvas.shape, np.float32)
    if rng.random() < 0.6:
        for step in range(rng.integers(1, 4)):
            x, slope = side * u - rng.uniform(0.5, 0.65), rng.normal(0.0, 0.22)
            height = dome - 0.14 - 0.17 * step + slope * x + 0.1 * x * x
            half = rng.uniform(0.024, 0.038) * (0.4 + 0.8 * severity)
            ends = ramp((rng.uniform(0.24, 0.36) - np.abs(x)) / 0.08)
            fill = np.maximum(fill, ends * ramp((half * 1.6 - np.abs(v - height)) / half))
        return _filling(anatomy, (0.25 + 0.65 * severity) * fill)
    top = dome - 0.2 - 0.32 * severity
    edge = v - top - rng.uniform(0.45, 0.8) * np.abs(side * u - 0.15)
    fade = 1 + 0.1 * cloud(rng, anatomy.canvas.shape, 16)
    return _filling(anatomy, (0.35 + 0.5 * severity) * ramp(edge / 0.07) * fade * (side * anatomy.canvas.u > 0))


def pneumothorax(rng: np.random.Generator, anatomy: Anatomy, severity: float) -> Change:
    """Air between chest wall and a lung that shrank inwards and down, with the line of its pleura."""
    u, v = anatomy.canvas.u, anatomy.canvas.v
    side = _side(rng)
    wide, high = 1 - 0.48 * severity * rng.uniform(0.65, 1.0), 1 - 0.36 * severity * rng.uniform(0.7, 1.0)
    base = anatomy.domes[side] + 0.3
    shrunk_u, shrunk_v = side * 0.15 + (u - side * 0.15) / wide, base + (v - base) / high
    outer, inner, _ = anatomy.borders(side, shrunk_u, shrunk_v)
    inside = np.minimum(np.minimum(outer, inner + 0.12), shrunk_v)
    lung = ramp(inside / 0.02 + 0.5)
    line = np.exp(-((inside / 0.014) ** 2))
    room = np.clip(anatomy.profiles[side] * 5, 0, 1) * (1 - anatomy.mediastinum)
    collapse = (1 - lung) * anatomy.outlines[side]
    return Change(mask=collapse > 0.5, collapse=collapse, added=0.1 * line * room * anatomy.outlines[side])


def pleural_effusion(rng: np.random.Generator, anatomy: Anatomy, severity: float) -> Change:
    """Fluid at the base that climbs along the chest wall; on both sides in a third of the images."""
    u, v = anatomy.canvas.u, anatomy.canvas.v
    fill = np.zeros(anatomy.canvas.shape, np.float32)
    mask = np.zeros(anatomy.canvas.shape, bool)
    first = _side(rng)
    for side in [first, -first][: 1 + int(rng.random() < 0.35)]:
        amount = max(0.0, severity - 0.3) * rng.uniform(0.8, 1.25)
        level = anatomy.domes[side] + 0.2 - 0.95 * amount
        x = np.clip(side * u, 0, 1.1)
        surface = level - (0.1 + 0.3 * amount) * x**3 + 0.12 * (1 - x)
        fluid = ramp((v - surface) / 0.09) * (side * anatomy.canvas.u > 0)
        fill = np.maximum(fill, fluid)
        mask |= (fluid > 0.4) & anatomy.outlines[side]
    return Change(mask=mask, fill=0.96 * fill)


def pleural_other(rng: np.random.Generator, anatomy: Anatomy, severity: float) -> Change:
    """Thickened pleura along the outer chest wall, sometimes over the apex, lumpy and at times calcified."""
    u, v = anatomy.canvas.u, anatomy.canvas.v
    side = _side(rng)
    outer, _, dome = anatomy.borders(side, u, v)
    start = rng.uniform(0.3, 0.7)
    end = start + rng.uniform(0.5, 0.85)
    lumps = 1 + 0.35 * np.sin(v * rng.uniform(9, 16) + rng.uniform(0, 6))
    thick = (0.04 + 0.09 * severity) * lumps * ramp((v - start) / 0.12) * ramp((end - v) / 0.12)
    if rng.random() < 0.35:
        thick = np.maximum(thick, (0.1 + 0.16 * severity) * ramp((0.3 - v) / 0.12))
    layer = ramp((thick - outer) / 0.025) * ramp(outer / 0.02 + 1) * ramp(dome / 0.03)
    layer *= np.clip((v + 0.01) * 50, 0, 1) * (side * anatomy.canvas.u > 0) * (1 - anatomy.mediastinum)
    added = (0.1 + 0.16 * severity) * layer * (1 + 0.25 * cloud(rng, anatomy.canvas.shape, 30))
    return Change(mask=notable(added + 0.7 * layer * anatomy.air), fill=0.7 * layer, added=added)


def fracture(rng: np.random.Generator, anatomy: Anatomy, severity: float) -> Change:
    """One to four neighboring ribs with a gap, a step and a callus about it."""
    u, v = anatomy.canvas.u, anatomy.canvas.v
    side = _side(rng)
    first = int(rng.integers(2, 7))
    added = np.zeros(anatomy.canvas.shape, np.float32)
    mask = np.zeros(anatomy.canvas.shape, bool)
    place = rng.uniform(0.5, 0.8)
    for number in range(first, first + int(rng.integers(2, 5))):
        wide, high, tilt, center = anatomy.rib_ring(number)
        x = min(0.9, place + rng.normal(0, 0.04)) * wide
        y = center + tilt * x - high * float(np.sqrt(1 - (x / wide) ** 2))
        beyond = side * u - x
        step = (0.03 + 0.04 * severity) * rng.choice((-1, 1)) * ramp(beyond / 0.02 + 0.5) * ramp(1 - beyond / 0.3)
        rows, before = anatomy.rib(number)
        _, after = anatomy.rib(number, step)
        gap = np.exp(-((beyond / 0.016) ** 2))
        distance = (beyond / 0.19) ** 2 + ((v[rows] - y) / 0.15) ** 2
        window = ramp((1 - distance) * 3)
        callus = np.exp(-((beyond / 0.075) ** 2) - ((v[rows] - y) / 0.06) ** 2) * (0.05 + 0.28 * severity)
        added[rows] += window * (after * (1 - 0.9 * gap) - before + callus * (1 - 0.45 * gap))
        mask[rows] |= distance < 0.6
    return Change(mask=mask, added=added)


def support_devices(rng: np.random.Generator, anatomy: Anatomy, severity: float) -> Change:
    """Tubes, lines, pacemakers and the like; they are as dense on subtle images as on others."""
    added, mask = draw_devices(rng, anatomy)
    return Change(mask=mask, added=added)


DRAW: dict[str, Callable[[np.random.Generator, Anatomy, float], Change]] = {
    draw.__name__.replace("_", " ").title(): draw
    for draw in (
        *(enlarged_cardiomediastinum, cardiomegaly, lung_opacity, lung_lesion, edema, consolidation, pneumonia),
        *(atelectasis, pneumothorax, pleural_effusion, pleural_other, fracture, support_devices),
    )
}
"""Every finding that is drawn, in the order of CheXpert."""
