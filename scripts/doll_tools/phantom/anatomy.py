"""The healthy chest of the phantom: outlines in body units, turned into maps of attenuation.

Lengths are in *units* of half the inner width of the rib cage (about 14 cm). ``u`` runs from the midline to the image's
right (the patient's left), ``v`` downwards from the lung apex. A *side* is -1 (patient's right, image left) or +1.
Attenuation is relative: 1 is the middle of a chest without air.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from scipy.interpolate import PchipInterpolator

Stroke = tuple[np.ndarray, float, float]
"""Points (N, 2) in units, width in units, level in 0..1."""
SIDES = (-1, 1)
AIR = 0.68
"""Attenuation that the air of one fully inflated lung takes away."""
HILUM_V = 0.92
HEART_TOP = 0.84
RIBS = 10

_BODY = (
    (-1.2, -0.5, -0.3, -0.14, 0.0, 0.12, 0.3, 0.6, 0.9, 1.5, 2.1, 3.4),
    (0.4, 0.38, 0.46, 0.8, 1.2, 1.42, 1.52, 1.4, 1.2, 1.16, 1.18, 1.22),
)
_DEPTH = ((-1.2, -0.3, 0.0, 0.4, 1.0, 1.8, 2.4, 3.4), (0.62, 0.66, 0.8, 0.95, 1.0, 1.12, 1.2, 1.2))
_LUNG_OUTER = (
    (0.0, 0.015, 0.05, 0.12, 0.25, 0.45, 0.8, 1.2, 1.7, 2.2),
    (0.40, 0.49, 0.57, 0.66, 0.77, 0.87, 0.95, 1.0, 1.02, 1.02),
)
_LUNG_INNER = ((0.0, 0.015, 0.05, 0.12, 0.25, 0.4, 2.2), (0.40, 0.33, 0.26, 0.19, 0.1, 0.0, 0.0))
_VESSELS_RIGHT = ((-1.0, 0.0, 0.4, 0.8, 1.1, 2.5), (0.14, 0.16, 0.19, 0.2, 0.2, 0.18))
_VESSELS_LEFT = (
    (-1.0, 0.0, 0.35, 0.5, 0.58, 0.68, 0.8, 0.9, 1.0, 2.5),
    (0.14, 0.16, 0.18, 0.27, 0.29, 0.25, 0.22, 0.25, 0.2, 0.16),
)
_HEART_RIGHT = ((0.8, 0.95, 1.2, 1.42, 1.6, 1.78, 2.2), (0.0, 0.22, 0.75, 1.0, 0.95, 0.6, 0.3))
_HEART_LEFT = ((0.8, 0.95, 1.15, 1.35, 1.55, 1.68, 1.8, 2.2), (0.0, 0.2, 0.6, 0.9, 1.03, 1.0, 0.82, 0.35))


def curve(table: tuple[tuple[float, ...], tuple[float, ...]], at: np.ndarray) -> np.ndarray:
    """Smooth, overshoot-free curve through a table of positions and values, constant beyond its ends."""
    positions, values = table
    smooth: np.ndarray = PchipInterpolator(positions, values)(np.clip(at, positions[0], positions[-1]))
    return smooth.astype(np.float32)


def rounded(depth: np.ndarray) -> np.ndarray:
    """Thickness of a round body at a depth (in radii) from its edge: 0 outside, 1 from one radius on."""
    inward = 1 - np.clip(depth, 0, 1)
    return np.sqrt(1 - inward * inward)


def ramp(value: np.ndarray) -> np.ndarray:
    """Smooth step from 0 (value <= 0) to 1 (value >= 1)."""
    value = np.clip(value, 0, 1)
    return value * value * (3 - 2 * value)


def cloud(rng: np.random.Generator, shape: tuple[int, int], cells: int) -> np.ndarray:
    """Smooth random field of mean 0 and deviation about 1, with ``cells`` bumps along a side: (H, W) float32."""
    grid = Image.fromarray(rng.standard_normal((cells, cells), dtype=np.float32))
    return np.asarray(grid.resize((shape[1], shape[0]), Image.Resampling.BICUBIC)) * 1.3


class Person(NamedTuple):
    """What stays the same from one image of a person to the next."""

    sex: str
    age: int
    fat: float  # thickness in units
    height: float  # of the lungs, a factor
    heart: float  # half width in units
    aorta: float  # bulge of the arch, a factor
    curvature: float  # sideways bow of the spine in units
    breasts: float  # attenuation


def draw_person(rng: np.random.Generator) -> Person:
    """Draw a person at random."""
    sex = "Female" if rng.random() < 0.45 else "Male"
    age = int(np.clip(rng.normal(60, 17), 18, 90))
    fat, height, heart = (float(rng.uniform(*ends)) for ends in ((0.0, 0.22), (0.9, 1.06), (0.46, 0.57)))
    aorta, curvature = float(0.7 + age / 120 * rng.uniform(0.6, 1.3)), float(rng.normal(0, 0.025))
    breasts = float(rng.uniform(0.06, 0.2)) if sex == "Female" else 0.0
    return Person(sex, age, fat, height, heart, aorta, curvature, breasts)


class Canvas:
    """A grid of pixels (H, W) in body units, ``u`` (1, W) and ``v`` (H, 1) float32, with a margin around the image.

    Args:
        size: of the image in pixels, (H, W).
        origin: pixel (x, y) of the image where ``u`` and ``v`` are 0.
        unit, margin: in pixels.
        degrees: turn of the image about its center.
    """

    def __init__(
        self, size: tuple[int, int], origin: tuple[float, float], unit: float, margin: int = 0, degrees: float = 0.0
    ) -> None:
        self.size, self.unit, self.margin, self.degrees = size, unit, margin, degrees
        self.shape = (size[0] + 2 * margin, size[1] + 2 * margin)
        self.origin = (origin[0] + margin, origin[1] + margin)
        self.u = ((np.arange(self.shape[1]) + 0.5 - self.origin[0]) / unit).astype(np.float32)[None, :]
        self.v = ((np.arange(self.shape[0]) + 0.5 - self.origin[1]) / unit).astype(np.float32)[:, None]

    def cut(self, values: np.ndarray) -> np.ndarray:
        """The image's part of a map of the canvas, float32 or bool."""
        (height, width), angle, mask = self.size, np.deg2rad(self.degrees), values.dtype == bool
        cosine, sine, x, y = float(np.cos(angle)), float(np.sin(angle)), width / 2, height / 2
        left, top = self.margin + x - cosine * x + sine * y, self.margin + y - sine * x - cosine * y
        image = Image.fromarray(values.astype(np.uint8) if mask else values)
        resample = Image.Resampling.NEAREST if mask else Image.Resampling.BILINEAR
        matrix = (cosine, -sine, left, sine, cosine, top)
        cut = np.asarray(image.transform((width, height), Image.Transform.AFFINE, matrix, resample))
        return cut > 0 if mask else cut

    def strokes(self, lines: Iterable[Stroke], *, filled: bool = False, blur: float = 0.0) -> np.ndarray:
        """Draw lines or, filled, polygons, antialiased, the last one on top: (H, W) float32 in 0..1; blur in units."""
        height, width = self.shape
        image = Image.new("L", (2 * width, 2 * height))
        pen = ImageDraw.Draw(image)
        scale = 2 * self.unit
        for points, thickness, level in lines:
            pixels = (np.asarray(points) * scale + 2 * np.asarray(self.origin)).ravel().tolist()
            if filled:
                pen.polygon(pixels, fill=round(255 * level))
            else:
                pen.line(pixels, fill=round(255 * level), width=max(1, round(thickness * scale)), joint="curve")
        image = image.reduce(2)
        image = image.filter(ImageFilter.GaussianBlur(blur * self.unit)) if blur > 0 else image
        return np.asarray(image, dtype=np.float32) / 255


class Anatomy:
    """Outlines and attenuation maps (H, W) of a healthy chest, heart and mediastinum as large as the findings want."""

    def __init__(
        self, rng: np.random.Generator, person: Person, canvas: Canvas, severities: dict[str, float], portable: bool
    ) -> None:
        self.person, self.canvas = person, canvas
        heart, wide = severities.get("Cardiomegaly"), severities.get("Enlarged Cardiomediastinum")
        heart_scale = 1.0 if heart is None else (0.6 + (0.12 + 0.3 * heart)) / person.heart
        widening = 0.0 if wide is None else 0.04 + 0.15 * wide
        inspiration = float(rng.uniform(-0.2, 0.03) if portable else rng.uniform(-0.08, 0.1))
        self.turn = turn = float(rng.normal(0, 0.03))  # about the long axis: shift of heart and breast bone
        self.domes = {
            -1: 1.52 * person.height + inspiration + rng.uniform(-0.04, 0.04),
            1: 1.62 * person.height + inspiration + rng.uniform(-0.05, 0.05),
        }
        u, v = canvas.u, canvas.v
        bump = np.exp(-(((v - 0.45) / 0.33) ** 2)) * widening
        self.right_border = curve(_VESSELS_RIGHT, v) + bump
        self.left_border = 0.2 + (curve(_VESSELS_LEFT, v) - 0.2) * person.aorta + bump
        self.right_border += curve(_HEART_RIGHT, v) * (0.13 + 0.22 * (heart_scale - 1))
        self.left_border += curve(_HEART_LEFT, v) * (person.heart * heart_scale - 0.16)
        center = (self.left_border - self.right_border) / 2 + turn
        position = (u - center) * 2 / (self.left_border + self.right_border)
        bottom = ramp((max(self.domes.values()) + 0.2 - v) / 0.12)
        self.mediastinum = (np.clip(1 - position * position, 0, 1) ** 0.35) * bottom
        self.silhouette = np.abs(position) < 1
        self.profiles: dict[int, np.ndarray] = {}
        self.outlines: dict[int, np.ndarray] = {}
        for side in SIDES:
            self.profiles[side], inside = self._lung(side)
            self.outlines[side] = inside & ~self.silhouette
        self.air = AIR * (self.profiles[-1] + self.profiles[1]) * (1 - 0.93 * self.mediastinum)
        floor = self.domes[1] + 0.1 - 0.06 * np.cos(2.2 * (u - 0.2))
        self.heart = self.silhouette & (v > HEART_TOP + 0.5 * (u - 0.1) ** 2) & (v < floor)
        self.body_half_width = curve(_BODY, v) + person.fat * curve(((-0.5, 0.3, 1.0), (0.15, 0.3, 1.0)), v)
        self.arms = self._arms(rng)
        self.soft = self._soft_tissue(rng)
        self.body = (np.abs(u) < self.body_half_width) | (self.arms > 0.05)
        self.clavicle = self._clavicles(rng)
        self.rib_spacing = float(rng.uniform(0.155, 0.175)) * person.height
        self.rib_strength = float(rng.uniform(0.09, 0.15))
        self.bones = self._spine(rng) + 0.17 * self.clavicle + self._shoulders()
        for number in range(RIBS):
            rows, rib = self.rib(number)
            self.bones[rows] += rib
        self.vessels = self._vessels(rng)

    def borders(self, side: int, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Signed depths in units inside a lung: below its outer wall, beside its inner wall, above the diaphragm."""
        x = side * u
        height = v / self.person.height
        outside = np.clip(x - 0.42, 0, None) / 0.6
        inside = np.clip(0.42 - x, 0, None)
        dome = self.domes[side] + 0.36 * outside**2.4 + 0.3 * inside**2
        return curve(_LUNG_OUTER, height) - x, x - curve(_LUNG_INNER, height), dome - v

    def _lung(self, side: int) -> tuple[np.ndarray, np.ndarray]:
        """Thickness of air of one lung, 0..1, as if no heart were there; and its mask."""
        v, own = self.canvas.v, side * self.canvas.u > 0
        outer, inner, dome = self.borders(side, self.canvas.u, v)
        above = 0.9 * rounded(dome / 0.09) + 0.1 * ramp(1 + dome / 0.3)
        shape = rounded(outer / 0.34) * above * (rounded(v / 0.5) * (v > 0)) * own
        inside = (outer > 0) & (inner > 0) & (dome > 0) & (v > 0) & own
        return (shape * rounded(inner / 0.1)).astype(np.float32), inside

    def _soft_tissue(self, rng: np.random.Generator) -> np.ndarray:
        u, v = self.canvas.u, self.canvas.v
        across = np.clip(np.abs(u) / self.body_half_width, 0, 1)
        soft = curve(_DEPTH, v) * np.sqrt(1 - across**3) + 0.06 * self.mediastinum + self.arms
        if self.person.breasts:
            sag = rng.uniform(1.2, 1.42)
            for side in SIDES:
                distance = ((side * u - 0.6) / 0.42) ** 2 + ((v - sag) / np.where(v > sag, 0.26, 0.5)) ** 2
                soft += self.person.breasts * np.sqrt(np.clip(1 - distance, 0, 1))
        windpipe = 0.03 * np.sin(2 * v) + self.turn * 0.5
        soft -= 0.16 * rounded((0.075 - np.abs(u - windpipe)) / 0.05) * ramp((0.66 - v) / 0.1)
        bronchi = [(np.array([[0.01, 0.6], end]), 0.07, 1.0) for end in ([-0.24, 0.86], [0.24, 0.84])]
        soft -= 0.1 * self.canvas.strokes(bronchi, blur=0.012)
        if rng.random() < 0.5:  # gas in the stomach, often with a level below
            wide, high = rng.uniform(0.14, 0.28), rng.uniform(0.07, 0.15)
            top = self.domes[1] + 0.08 + high
            depth = 1 - ((u - rng.uniform(0.4, 0.55)) / wide) ** 2 - ((v - top) / high) ** 2
            level = ramp((top + high * rng.uniform(0.1, 1.0) - v) / 0.03)
            soft -= 0.4 * np.sqrt(np.clip(depth, 0, 1)) * level
        return soft

    def _arms(self, rng: np.random.Generator) -> np.ndarray:
        u, v = self.canvas.u, self.canvas.v
        arms = np.zeros(self.canvas.shape, np.float32)
        if rng.random() < 0.65:
            lean, start = rng.uniform(0.05, 0.3), 1.36 + 0.3 * self.person.fat
            for side in SIDES:
                x = np.abs(side * u - start - lean * np.clip(v - 0.3, 0, None))
                fade = ramp((v - 0.1) / 0.25)
                arms += fade * (0.42 * rounded((0.2 - x) / 0.2) + 0.22 * rounded((0.062 - x) / 0.04))
        return arms

    def _spine(self, rng: np.random.Generator) -> np.ndarray:
        u, v = self.canvas.u, self.canvas.v
        x = u - self.person.curvature * np.sin(2.2 * v + rng.uniform(0, 6)) + 0.3 * self.turn
        beat = (v / (0.19 * self.person.height) + rng.random()) % 1.0
        body = ramp(np.abs(beat - 0.5) * -10 + 5.2)
        column = rounded((0.155 - np.abs(x)) / 0.08) * (0.07 + 0.07 * body)
        pedicle = np.exp(-(((np.abs(x) - 0.095) / 0.02) ** 2) - ((beat - 0.35) / 0.14) ** 2)
        process = np.exp(-((x / 0.018) ** 2) - ((beat - 0.75) / 0.16) ** 2)
        return (column + 0.07 * pedicle + 0.06 * process).astype(np.float32)

    def _clavicles(self, rng: np.random.Generator) -> np.ndarray:
        """Thickness of both collar bones, 0..1."""
        u, v = self.canvas.u, self.canvas.v
        slope = rng.uniform(0.12, 0.34)
        bones = np.zeros(self.canvas.shape, np.float32)
        for side in SIDES:
            along = (side * (u - self.turn) - 0.11) / 1.05
            axis = 0.29 - slope * along + 0.045 * np.sin(6.3 * along) + side * self.turn * 0.3
            half = 0.036 + 0.02 * np.exp(-(((along - 0.02) / 0.12) ** 2)) + 0.01 * np.clip(along - 0.6, 0, 1)
            ends = ramp(along / 0.03 + 0.5) * ramp((1.03 - along) / 0.05)
            distance = np.abs(v - axis) / half
            bones += ends * np.sqrt(np.clip(1 - distance**2, 0, 1)) * (0.6 + 0.4 * np.clip(distance, 0, 1))
        return bones

    def _shoulders(self) -> np.ndarray:
        """Shoulder blades and heads of the upper arms."""
        blade = np.array(
            [[1.02, 0.08], [1.3, 0.12], [1.26, 0.4], [1.12, 0.85], [1.04, 0.92], [0.97, 0.8], [0.88, 0.35]]
        )
        spine = np.array([[0.9, 0.26], [1.1, 0.12], [1.34, 0.02]])
        turns = np.linspace(0, 2 * np.pi, 24)
        head = np.stack([1.38 + 0.135 * np.cos(turns), 0.2 + 0.15 * np.sin(turns)], axis=1)
        mirror = [np.array([side, 1.0]) for side in SIDES]
        plates = self.canvas.strokes(
            [(blade * m, 0, 0.45) for m in mirror] + [(head * m, 0, 1.0) for m in mirror], filled=True, blur=0.012
        )
        edges = self.canvas.strokes([(line * m, 0.035, 0.6) for m in mirror for line in (blade[3:], spine)], blur=0.01)
        return 0.14 * plates + 0.09 * edges

    def rib(self, number: int, shift: np.ndarray | float = 0.0) -> tuple[slice, np.ndarray]:
        """Rows that a pair of ribs crosses, and its attenuation there: tilted rings, brighter behind, shifted down."""
        wide, high, tilt, center = self.rib_ring(number)
        reach = np.flatnonzero(np.abs(self.canvas.v[:, 0] - center - tilt * wide / 2) < high + tilt * wide / 2 + 0.15)
        rows = slice(int(reach[0]), int(reach[-1]) + 1) if len(reach) else slice(0, 0)
        u, v = self.canvas.u, self.canvas.v[rows]
        x = np.abs(u)
        y = v - center - tilt * x - shift
        across, down = x / wide**2, y / high**2
        slope = np.sqrt((across - tilt * down) ** 2 + down * down) + 1e-3
        distance = np.abs(across * x + down * y - 1) / (2 * slope)
        outer = np.sqrt(np.clip(1 - (distance / 0.037) ** 2, 0, 1))
        inner = np.sqrt(np.clip(1 - (distance / 0.026) ** 2, 0, 1))
        front = ramp(y / 0.1 + 0.5)
        low = 1 - ramp((v - self.domes[-1] + 0.06) / 0.3) * (0.5 + 0.4 * front)
        ends = (1 - front) * ramp((x - 0.1) / 0.05) + front * 0.75 * ramp((x - 0.42 * wide) / 0.16)
        return rows, self.rib_strength * ends * low * (1.25 * outer - 0.4 * inner)

    def rib_ring(self, number: int) -> tuple[float, float, float, float]:
        """Half width, half height, tilt and center (v) of a pair of ribs, in units."""
        wide = float(np.interp(number, (0, 1, 2, 3, 5, 9), (0.5, 0.7, 0.83, 0.92, 1.02, 1.06)))
        high = float(np.interp(number, (0, 2, 9), (0.15, 0.26, 0.36)))
        tilt = float(np.interp(number, (0, 2, 9), (0.05, 0.12, 0.26)))
        return wide, high, tilt, (0.03 + number * self.rib_spacing) + high - tilt * 0.12

    def _vessels(self, rng: np.random.Generator) -> np.ndarray:
        """Branching hilar and pulmonary vessels, 0..1."""
        lines: list[Stroke] = []
        for side in SIDES:
            root = np.array([side * 0.2 + self.turn, HILUM_V - 0.03 * (side > 0)])
            for angle in np.linspace(-1.3, 1.4, 10) + rng.normal(0, 0.13, 10):
                start = root + np.array([side * rng.uniform(-0.02, 0.06), 0.13 * angle + rng.normal(0, 0.03)])
                width = rng.uniform(0.026, 0.04) * (1.2 if angle > 0.3 else 1.0)
                lines += self._branch(rng, start, side, float(angle), width, 6)
            hilum = root + np.stack([side * rng.uniform(0.0, 0.1, 5), np.linspace(-0.1, 0.2, 5)], axis=1)
            lines.append((hilum, 0.075, 0.8))
        lines.sort(key=lambda line: line[2])
        return self.canvas.strokes(lines, blur=0.007)

    def _branch(
        self, rng: np.random.Generator, start: np.ndarray, side: int, angle: float, width: float, steps: int
    ) -> Iterator[Stroke]:
        """Grow one vessel outwards; it thins, bends and gives off smaller ones."""
        turns = angle + np.cumsum(rng.normal(0, 0.22, steps))
        moves = np.stack([side * np.cos(turns), np.sin(turns)], axis=1) * rng.uniform(0.09, 0.14)
        points = np.concatenate([start[None], start + np.cumsum(moves, axis=0)])
        for step in range(steps):
            thin = width * (1 - step / (steps + 1)) ** 1.2
            yield points[step : step + 2], thin, min(1.0, 0.12 + 17 * thin)
            if steps > 3 and step > 0:
                fork = float(turns[step]) + rng.choice((-1, 1)) * rng.uniform(0.4, 0.8)
                yield from self._branch(rng, points[step + 1], side, fork, 0.65 * thin, 3)
