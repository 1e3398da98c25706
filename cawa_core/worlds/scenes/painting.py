"""Painting: from the layout to materials, from back to front."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cawa_core.worlds.scenes.canvas import Canvas
from cawa_core.worlds.scenes.layout import ANNEXE_EAVES, EAVES, Layout
from cawa_core.worlds.scenes.materials import CROWNS, Material
from cawa_core.worlds.scenes.nuisances import N_CLOUDS, N_MOUNTAINS, Nuisances
from cawa_core.worlds.scenes.vocabulary import (
    AUTUMN,
    BARN,
    CASTLE,
    CHURCH,
    DESERT,
    HOUSE,
    MEADOW,
    NIGHT,
    SEASIDE,
    SNOW,
    TOWER,
)

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]

# One entry per place: meadow, snow, desert, night, seaside, autumn.
SUN_PROBABILITY = (0.75, 0.45, 0.9, 0.9, 0.75, 0.5)
CLOUD_PROBABILITY = (0.65, 0.6, 0.12, 0.35, 0.6, 0.55)
MOUNTAIN_PROBABILITY = (0.4, 0.7, 0.55, 0.45, 0.25, 0.35)
PATH_PROBABILITY = (0.7, 0.5, 0.0, 0.6, 0.0, 0.7)


def paint(u: Nuisances, layout: Layout, buildings: Indices, places: Indices, resolution: int) -> NDArray[np.uint8]:
    """Paint pictures; return the material of each point, uint8 ``[n, resolution, resolution]``."""
    canvas = Canvas(len(buildings), resolution)
    _paint_sky(canvas, u, layout, places)
    _paint_ground(canvas, u, layout, places)
    _paint_trees(canvas, layout, places)
    _paint_body(canvas, layout, buildings, places)
    _paint_annexes(canvas, layout, places)
    _paint_openings(canvas, layout, buildings)
    return canvas.materials


def _chance(u: Nuisances, name: str, probabilities: tuple[float, ...], places: Indices) -> NDArray[np.bool_]:
    return u[name] < np.asarray(probabilities, dtype=np.float32)[places]


def _paint_sky(canvas: Canvas, u: Nuisances, layout: Layout, places: Indices) -> None:
    radius = u.between("sun_radius", 0.065, 0.09)
    sun = canvas.ellipse(u.between("sun_y", 0.09, 0.2), radius, radius)
    canvas.paint(Material.SUN, u.between("sun_x", 0.08, 0.92), sun, _chance(u, "sun", SUN_PROBABILITY, places))
    for number in range(N_CLOUDS):
        name = f"cloud{number}"
        present = _chance(u, name, CLOUD_PROBABILITY, places)
        size = u.between(f"{name}_size", 0.10, 0.17)
        x = u.between(f"{name}_x", 0.0, 1.0)
        y = u.between(f"{name}_y", 0.10, 0.30)
        canvas.paint(Material.CLOUD, x, canvas.ellipse(y, size, size * np.float32(0.36)), present)
        puff = canvas.ellipse(y - size * np.float32(0.22), size * np.float32(0.55), size * np.float32(0.42))
        canvas.paint(Material.CLOUD, x + size * np.float32(0.12), puff, present)
    for number in range(N_MOUNTAINS):
        _paint_mountain(canvas, u, layout, places, f"mountain{number}")


def _paint_mountain(canvas: Canvas, u: Nuisances, layout: Layout, places: Indices, name: str) -> None:
    """A pointed mountain with a cap of snow or light, or a flat-topped one in the desert."""
    present = _chance(u, name, MOUNTAIN_PROBABILITY, places)
    x = u.between(f"{name}_x", -0.05, 1.05)
    height = u.between(f"{name}_height", 0.16, 0.32)
    half = u.between(f"{name}_width", 0.22, 0.36)
    flat = places == DESERT
    height = np.where(flat, height * np.float32(0.7), height)
    half_top = np.where(flat, half * np.float32(0.55), np.float32(0))
    top = layout.horizon - height
    canvas.paint(Material.MOUNTAIN, x, canvas.trapezium(top, layout.horizon, half_top, half), present)
    cap = np.float32(0.3)
    half_cap = half_top + (half - half_top) * cap
    canvas.paint(Material.PEAK, x, canvas.trapezium(top, top + cap * height, half_top, half_cap), present)


def _paint_ground(canvas: Canvas, u: Nuisances, layout: Layout, places: Indices) -> None:
    everywhere = np.full(len(places), 0.5, dtype=np.float32)
    far = np.full(len(places), 1.0, dtype=np.float32)
    canvas.paint(Material.GROUND, everywhere, canvas.box(layout.horizon, far + 1, far))
    sea = places == SEASIDE
    depth = u.between("sea_height", 0.11, 0.14)
    canvas.paint(Material.WATER, everywhere, canvas.box(layout.horizon, layout.horizon + depth, far), sea)
    for number, (x, y) in enumerate(((0.05, 0.25), (0.45, 0.6), (0.8, 0.3))):
        crest = layout.horizon + depth * np.float32(y)
        wave = canvas.box(crest, crest + np.float32(0.022), np.full(len(places), 0.09, dtype=np.float32))
        canvas.paint(Material.WAVE, np.float32(x - 0.05 + 0.02 * number) + u.between("waves", 0.0, 0.2), wave, sea)
    half = layout.half_door
    path = canvas.trapezium(layout.base, far + np.float32(0.001), half * np.float32(0.9), half * np.float32(2.2))
    canvas.paint(Material.PATH, layout.door_x, path, _chance(u, "path", PATH_PROBABILITY, places))


def _paint_trees(canvas: Canvas, layout: Layout, places: Indices) -> None:
    for slot, crown in enumerate(CROWNS):
        x, base, height = layout.tree_x[:, slot], layout.tree_base[:, slot], layout.tree_height[:, slot]
        half, present = layout.crown[:, slot], layout.tree[:, slot]
        thin = np.full(len(places), 0.022, dtype=np.float32)
        top = base - height
        has_trunk = present & (places != DESERT)
        canvas.paint(Material.TRUNK, x, canvas.box(top + np.float32(0.3) * height, base, thin), has_trunk)
        leafy = present & np.isin(places, (MEADOW, NIGHT, AUTUMN))
        canvas.paint(crown, x, canvas.ellipse(top + np.float32(0.36) * height, half, half * np.float32(1.1)), leafy)
        _paint_pine(canvas, crown, x, top, base, half, present & (places == SNOW))
        _paint_cactus(canvas, crown, x, top, base, present & (places == DESERT))
        _paint_palm(canvas, crown, x, top, half, present & (places == SEASIDE))


def _paint_pine(
    canvas: Canvas, crown: int, x: Floats, top: Floats, base: Floats, half: Floats, present: NDArray[np.bool_]
) -> None:
    height = base - top
    nothing = np.zeros_like(half)
    canvas.paint(crown, x, canvas.trapezium(top, base - np.float32(0.15) * height, nothing, half), present)
    cap = np.float32(0.34)
    canvas.paint(Material.SNOW_ON_TREE, x, canvas.trapezium(top, top + cap * height, nothing, half * cap), present)


def _paint_cactus(canvas: Canvas, crown: int, x: Floats, top: Floats, base: Floats, present: NDArray[np.bool_]) -> None:
    """A column with an arm at each side, the left one lower."""
    height = base - top
    column = np.full_like(height, 0.03)
    arm = np.full_like(height, 0.02)
    canvas.paint(crown, x, canvas.box(top, base, column), present)
    for side, share in ((-1, 0.52), (1, 0.36)):
        elbow = top + np.float32(share) * height
        reach = np.float32(0.04)
        across = canvas.box(elbow, elbow + np.float32(0.04), np.full_like(height, 0.04))
        canvas.paint(crown, x + side * reach, across, present)
        canvas.paint(
            crown,
            x + side * np.float32(0.07),
            canvas.box(elbow - np.float32(0.07), elbow + np.float32(0.04), arm),
            present,
        )


def _paint_palm(canvas: Canvas, crown: int, x: Floats, top: Floats, half: Floats, present: NDArray[np.bool_]) -> None:
    """Two drooping leaves and a tuft on a trunk."""
    middle = top + np.float32(0.6) * half
    for side in (-1, 1):
        leaf = canvas.ellipse(middle, half * np.float32(0.72), half * np.float32(0.42))
        droop = (canvas.y - middle[:, None]) * np.float32(0.9)
        canvas.paint(crown, (x + side * np.float32(0.6) * half)[:, None] + side * droop, leaf, present)
    canvas.paint(
        crown, x, canvas.ellipse(top + np.float32(0.3) * half, half * np.float32(0.4), half * np.float32(0.5)), present
    )


def _paint_body(canvas: Canvas, layout: Layout, buildings: Indices, places: Indices) -> None:
    x, half, top, base, roof_top = layout.body_x, layout.half_body, layout.top, layout.base, layout.roof_top
    chimney = canvas.box(roof_top + np.float32(0.01), top, np.full_like(half, 0.03))
    canvas.paint(Material.ROOF, x + np.float32(0.55) * half, chimney, buildings == HOUSE)
    canvas.paint(Material.WALL, x, canvas.box(top, base, half))
    shaded = np.float32(0.14) * half
    canvas.paint(Material.WALL_IN_SHADE, x + half - shaded, canvas.box(top, base, shaded))
    eaves = half + np.asarray(EAVES, dtype=np.float32)[buildings]
    pointed = np.isin(buildings, (HOUSE, CHURCH, TOWER))
    nothing = np.zeros_like(half)
    _paint_roof(canvas, x, roof_top, top, nothing, eaves, pointed, places)
    # A barn's roof is steep below and flat above.
    knee = roof_top + np.float32(0.4) * (top - roof_top)
    barn = buildings == BARN
    canvas.paint(Material.ROOF, x, canvas.trapezium(knee, top, eaves * np.float32(0.74), eaves), barn)
    _paint_roof(canvas, x, roof_top, knee, eaves * np.float32(0.3), eaves * np.float32(0.74), barn, places)
    merlon = canvas.box(roof_top, top, np.full_like(half, 0.032))
    for number in (-1, 0, 1):
        canvas.paint(Material.WALL, x + np.float32(number * 0.115), merlon, buildings == CASTLE)


def _paint_roof(
    canvas: Canvas,
    x: Floats,
    top: Floats,
    bottom: Floats,
    half_top: Floats,
    half_bottom: Floats,
    present: NDArray[np.bool_],
    places: Indices,
) -> None:
    """A roof whose upper part is snow in the snow, and a little lighter elsewhere."""
    canvas.paint(Material.ROOF, x, canvas.trapezium(top, bottom, half_top, half_bottom), present)
    share = np.where(places == SNOW, np.float32(0.68), np.float32(0.4))
    middle = top + share * (bottom - top)
    half_middle = half_top + share * (half_bottom - half_top)
    canvas.paint(Material.ROOF_TOP, x, canvas.trapezium(top, middle, half_top, half_middle), present)


def _paint_annexes(canvas: Canvas, layout: Layout, places: Indices) -> None:
    half, top, base = layout.half_annexe, layout.annexe_top, layout.base
    for slot in range(layout.annexe.shape[1]):
        x, present = layout.annexe_x[:, slot], layout.annexe[:, slot]
        canvas.paint(Material.WALL, x, canvas.box(top, base, half), present)
        shaded = np.float32(0.22) * half
        canvas.paint(Material.WALL_IN_SHADE, x + half - shaded, canvas.box(top, base, shaded), present)
        _paint_roof(canvas, x, layout.spire_top, top, np.zeros_like(half), half + ANNEXE_EAVES, present, places)


def _paint_openings(canvas: Canvas, layout: Layout, buildings: Indices) -> None:
    arched = np.isin(buildings, (CHURCH, TOWER, CASTLE))
    arch = np.where(arched, layout.half_door, np.float32(0))
    spring = layout.door_top + arch
    canvas.paint(Material.DOOR, layout.door_x, canvas.box(spring, layout.base, layout.half_door))
    canvas.paint(
        Material.DOOR,
        layout.door_x,
        canvas.ellipse(spring, layout.half_door, np.maximum(arch, np.float32(1e-6))),
        arched,
    )
    for slot in range(layout.window.shape[1]):
        y, half, half_height = layout.window_y[:, slot], layout.half_window[:, 0], layout.half_window_height[:, 0]
        window = canvas.box(y - half_height, y + half_height, half)
        canvas.paint(Material.WINDOW, layout.window_x[:, slot], window, layout.window[:, slot])
