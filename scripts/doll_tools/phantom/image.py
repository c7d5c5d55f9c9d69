"""One image of the phantom: anatomy and findings summed to attenuation, then to gray values; with its ground truth."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from doll_monai.findings import FINDINGS
from doll_tools.phantom.anatomy import AIR, Anatomy, Canvas, Person, cloud, draw_person, ramp
from doll_tools.phantom.findings import DRAW, OPACITIES, Change, choose_findings

MIN_MASK_SHARE = 2e-4
"""A finding with a smaller mask (hidden by others, or off the image) is neither drawn nor labeled."""


class Radiograph(NamedTuple):
    """A frontal radiograph and its ground truth; masks are (H, W) bool."""

    image: np.ndarray  # (H, W) uint8, bright is dense
    masks: dict[str, np.ndarray]  # of the positive findings but No Finding
    structures: dict[str, np.ndarray]  # the patient's right_lung, left_lung, heart and clavicles
    body: np.ndarray  # everything else is air or collimator
    labels: dict[str, float]  # all 14 observations, 0.0 or 1.0
    severities: dict[str, float]  # of the positive findings, 0..1, below 0.5 is subtle
    projection: str  # AP or PA


def draw_image(rng: np.random.Generator, size: int = 320, person: Person | None = None) -> Radiograph:
    """Draw one frontal image.

    Chest, findings and exposure have a random stream each, so that the findings chosen change nothing but themselves.

    ``rng`` needs a seed sequence, as that of ``numpy.random.default_rng`` has; ``size`` is that of the shorter side in
    pixels, ``person`` a random one by default.
    """
    general, choice, chest, disease, detail, exposure = rng.spawn(6)
    person = person or draw_person(general)
    portable = bool(general.random() < 0.5)
    severities = choose_findings(choice)
    canvas = _draw_canvas(general, size)
    anatomy = Anatomy(chest, person, canvas, severities, portable)
    changes = {name: DRAW[name](disease, anatomy, severity) for name, severity in severities.items()}
    changes = _keep_visible(changes, anatomy)
    image, open_field = _expose(exposure, canvas.cut(_compose(detail, anatomy, changes)), portable)
    body = canvas.cut(anatomy.body) & open_field
    masks = {name: canvas.cut(change.mask) & body for name, change in changes.items()}
    united = [masks[name] for name in ("Lung Opacity", *OPACITIES) if name in masks]
    if united:
        masks["Lung Opacity"] = np.logical_or.reduce(united)
    sick = any(name != "Support Devices" for name in masks)
    labels = {name: float(name in masks or (name == "No Finding" and not sick)) for name in FINDINGS}
    parts = {"right_lung": anatomy.outlines[-1], "left_lung": anatomy.outlines[1], "heart": anatomy.heart}
    parts["clavicles"] = anatomy.clavicle > 0.2
    structures = {name: canvas.cut(mask) & body for name, mask in parts.items()}
    masks = {name: masks[name] for name in FINDINGS if name in masks}
    severities = {name: severity for name, severity in severities.items() if name in masks}
    return Radiograph(image, masks, structures, body, labels, severities, "AP" if portable else "PA")


def _draw_canvas(rng: np.random.Generator, size: int) -> Canvas:
    """Draw the image's proportions, and how the patient lies on it."""
    longer = round(size * rng.uniform(1.0, 1.22))
    height, width = (longer, size) if rng.random() < 0.5 else (size, longer)
    unit = min(width / 2.75, height / 2.5) * rng.uniform(0.92, 1.05)
    middle = (width / 2 + rng.normal(0, 0.05) * unit, height * rng.uniform(0.45, 0.5) - 0.97 * unit)
    degrees = float(np.clip(rng.normal(0, 1.8), -4, 4))
    return Canvas((height, width), middle, unit, round(0.05 * longer), degrees)


def _keep_visible(changes: dict[str, Change], anatomy: Anatomy) -> dict[str, Change]:
    """Let air and fluid of the pleural space hide the findings of the lung, and drop what is no longer to be seen."""
    air, fluid = changes.get("Pneumothorax"), changes.get("Pleural Effusion")
    for name, change in changes.items():
        if air and name in ("Lung Opacity", *OPACITIES):
            change.fill, change.mask = change.fill * (1 - air.collapse), change.mask & (air.collapse < 0.5)
    if air and fluid:
        air.collapse, air.added = air.collapse * (1 - fluid.fill), air.added * (1 - fluid.fill)
        air.mask = air.mask & (fluid.fill < 0.5)
    least = MIN_MASK_SHARE * anatomy.body.size
    return {name: change for name, change in changes.items() if np.count_nonzero(change.mask) >= least}


def _compose(rng: np.random.Generator, anatomy: Anatomy, changes: dict[str, Change]) -> np.ndarray:
    """Sum chest and findings: attenuation (H, W) float32."""
    texture = 1 + 0.045 * cloud(rng, anatomy.canvas.shape, 40) + 0.03 * cloud(rng, anatomy.canvas.shape, 12)
    kept = np.ones(anatomy.canvas.shape, np.float32)
    added, collapse = np.zeros_like(kept), np.zeros_like(kept)
    for change in changes.values():
        kept *= 1 - change.fill
        added += change.added
        collapse = np.maximum(collapse, change.collapse)
    inflated = np.clip(anatomy.air / AIR * 2.5, 0, 1)
    vessels = 0.2 * anatomy.vessels * inflated * (0.35 + 0.65 * kept) * (1 - collapse)
    air = anatomy.air * kept * ((1 - collapse) * 0.9 * texture + collapse * 1.2)
    total = np.clip(anatomy.soft, 0, None) + (anatomy.bones + vessels) * (anatomy.soft > 0) - air
    return (np.clip(total, 0.02, None) * anatomy.body + added).astype(np.float32)


def _expose(rng: np.random.Generator, attenuation: np.ndarray, portable: bool) -> tuple[np.ndarray, np.ndarray]:
    """Exposure, contrast, blur, noise, marker and collimator: gray values (uint8), and where the collimator is open."""
    height, width = attenuation.shape
    top = rng.uniform(1.15, 1.45)
    gray = np.clip(attenuation / top, 0, None)
    gray = gray / (1 + gray**6) ** (1 / 6)
    gray = gray ** rng.uniform(0.75, 1.2)
    if portable and rng.random() < 0.5:
        gray = ramp(attenuation / 0.1) * rng.uniform(0.08, 0.2) + gray * rng.uniform(0.68, 0.8)
    else:
        gray = gray * rng.uniform(0.88, 0.99) + rng.uniform(0.0, 0.05)
    noise = rng.standard_normal((height, width), dtype=np.float32) * rng.uniform(0.004, 0.022)
    blurred = Image.fromarray(np.clip(gray * 255, 0, 255).astype(np.uint8))
    blurred = blurred.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 0.8) * width / 320))
    gray = np.asarray(blurred, dtype=np.float32) / 255
    gray = gray + noise * (0.5 + np.sqrt(gray))
    gray = _burn_marker(rng, gray, portable)
    open_field = np.ones((height, width), bool)
    if rng.random() < 0.35:  # one or more dark borders
        top, bottom, left, right = (rng.uniform(0, 0.045, 4) * (rng.random(4) < 0.6) * min(height, width)).astype(int)
        open_field[:] = False
        open_field[top : height - bottom, left : width - right] = True
    gray = np.where(open_field, gray, rng.uniform(0.0, 0.03))
    return (np.clip(gray, 0, 1) * 255).astype(np.uint8), open_field


def _burn_marker(rng: np.random.Generator, gray: np.ndarray, portable: bool) -> np.ndarray:
    """Burn the side letter into the upper corner of its side, sometimes with a word below."""
    height, width = gray.shape
    left = rng.random() < 0.6
    text = ("L" if left else "R") + ("\nPORTABLE" if portable and rng.random() < 0.3 else "")
    x = width * (rng.uniform(0.85, 0.92) if left else rng.uniform(0.04, 0.1))
    y = height * rng.uniform(0.03, 0.12)
    stamp = Image.new("L", (width, height))
    pen, letter = ImageDraw.Draw(stamp), max(7, round(0.06 * min(height, width)))
    pen.text((x, y), text[0], fill=255, font=_font(letter))
    pen.text((min(x, width - 2.6 * letter), y + 1.2 * letter), text[2:], fill=255, font=_font(max(6, letter // 2)))
    return gray + (0.97 - gray) * (np.asarray(stamp, dtype=np.float32) / 255)


_font = lru_cache(maxsize=8)(ImageFont.load_default)


def draw_lateral(rng: np.random.Generator, size: int = 320) -> np.ndarray:
    """Draw a crude side view, (H, W) uint8: it only has to be told from a frontal image."""
    height = round(size * 1.2)
    canvas = Canvas((height, size), (size / 2, 0.14 * height), size / 2.4)
    u, v = canvas.u, canvas.v
    body = np.sqrt(np.clip(1 - (np.abs(u) / (0.95 + 0.1 * np.sin(2 * v))) ** 3, 0, 1)) * (0.9 + 0.25 * ramp(v - 0.8))
    dome = 1.5 + 0.5 * np.clip(u + 0.2, 0, None) ** 2 + 0.12 * np.clip(-u, 0, None)
    lung = np.sqrt(np.clip(1 - (u / 0.82) ** 2 - ((v - 1.0) / 1.05) ** 2, 0, 1)) * ramp((dome - v) / 0.06)
    heart = np.sqrt(np.clip(1 - ((u + 0.35) / 0.38) ** 2 - ((v - 1.2) / 0.38) ** 2, 0, 1))
    spine = np.exp(-(((u - 0.52 - 0.1 * np.sin(1.6 * v)) / 0.13) ** 2)) * (0.8 + 0.2 * np.sin(v * 34))
    ribs = np.clip(np.sin((v - 0.5 * u) * 17 + rng.uniform(0, 6)), 0.7, 1) - 0.7
    total = body - 0.75 * lung * (1 - 0.8 * heart) + 0.28 * spine + 0.2 * ribs * (lung > 0)
    noise = rng.standard_normal(canvas.shape, dtype=np.float32) * 0.015
    gray = np.clip(total / rng.uniform(1.15, 1.4), 0, 1) + noise
    return (np.clip(gray, 0, 1) * 255).astype(np.uint8)
