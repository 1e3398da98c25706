"""Layout of pictures: where everything stands, computed from the nuisances."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cawa_core.worlds.scenes.nuisances import N_TREES, Nuisances
from cawa_core.worlds.scenes.vocabulary import BARN, CASTLE, CHURCH, HOUSE, SEASIDE, TOWER

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]
Arrays = dict[str, Any]
"""Fields of a :class:`Layout` by name."""

# One entry per place: meadow, snow, desert, night, seaside, autumn.
TREE_PROBABILITY = (0.7, 0.75, 0.6, 0.65, 0.6, 0.9)
"""Probability of each tree, one per place; trees without room are left out."""
TREE_COLUMNS = ((0.05, 0.28), (0.72, 0.95), (0.05, 0.95))
TREE_GAP = np.float32(0.01)
TREE_SPACING = 0.14

# One entry per building: house, church, barn, tower, castle.
WIDTH = ((0.38, 0.46), (0.30, 0.35), (0.46, 0.54), (0.19, 0.23), (0.46, 0.54))
HEIGHT = ((0.23, 0.28), (0.22, 0.26), (0.21, 0.25), (0.38, 0.44), (0.21, 0.25))
ROOF_HEIGHT = ((0.17, 0.22), (0.15, 0.19), (0.16, 0.20), (0.17, 0.21), (0.04, 0.045))
DOOR_WIDTH = (0.11, 0.10, 0.17, 0.09, 0.14)
DOOR_HEIGHT = (0.16, 0.155, 0.16, 0.15, 0.17)
HALF_WINDOW = (0.05, 0.036, 0.045, 0.043, 0.036)
HALF_WINDOW_HEIGHT = (0.05, 0.055, 0.045, 0.045, 0.045)
N_WINDOWS = ((1, 2), (1, 2), (0, 2), (1, 2), (0, 2))
"""Least and most windows of the body; steeple, side towers and the barn's loft have one each besides."""
EAVES = (0.035, 0.025, 0.025, 0.04, 0.0)
"""How far the roof reaches beyond the wall at each side."""
ANNEXE_EAVES = np.float32(0.02)
CHURCH_WINDOW = np.float32(0.058)
"""Distance of a church's two windows from the middle of the nave that the steeple leaves visible."""
SIDE_WINDOW = 0.31
"""Distance of the windows at either side from the middle, as a share of the body's width."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """Positions and sizes in units of the picture's side, ``[n]``; things in slots are ``[n, slots]``.

    Attributes:
        horizon, base: heights of the horizon and of the building's foot.
        body_x, half_body, top: middle, half the width, and upper edge of the building's body.
        roof_top: upper end of the body's roof.
        annexe_x, half_annexe, annexe_top, spire_top: steeple (slot 0) or side towers (both slots).
        annexe: which of these exist.
        door_x, half_door, door_top: the door; its foot is the base.
        window_x, window_y, half_window, half_window_height, window: the windows, and which of them exist.
        tree, tree_x, tree_base, tree_height, crown: trees, which exist; ``crown`` is half a crown's width.
        box: left, top, right and bottom of the whole building ``[n, 4]``.
    """

    horizon: Floats
    base: Floats
    body_x: Floats
    half_body: Floats
    top: Floats
    roof_top: Floats
    annexe: Flags
    annexe_x: Floats
    half_annexe: Floats
    annexe_top: Floats
    spire_top: Floats
    door_x: Floats
    half_door: Floats
    door_top: Floats
    window: Flags
    window_x: Floats
    window_y: Floats
    half_window: Floats
    half_window_height: Floats
    tree: Flags
    tree_x: Floats
    tree_base: Floats
    tree_height: Floats
    crown: Floats
    box: Floats


def _column(table: tuple[float, ...], which: NDArray[np.int64]) -> Floats:
    return np.asarray(table, dtype=np.float32)[which]


def _between(table: tuple[tuple[float, float], ...], which: NDArray[np.int64], u: Nuisances, name: str) -> Floats:
    bounds = np.asarray(table, dtype=np.float32)[which]
    return u.between(name, bounds[:, 0], bounds[:, 1])


def lay_out(u: Nuisances, buildings: NDArray[np.int64], places: NDArray[np.int64]) -> Layout:
    """Place the building, its door and windows, and the trees around it."""
    by_the_sea = places == SEASIDE
    horizon = u.between("horizon", 0.60, 0.70) - np.where(by_the_sea, np.float32(0.05), np.float32(0))
    base = horizon + u.between("base", 0.08, 0.16) + np.where(by_the_sea, np.float32(0.06), np.float32(0))
    scale = u.between("scale", 0.94, 1.08)
    half_body = _between(WIDTH, buildings, u, "width") * scale * np.float32(0.5)
    top = base - _between(HEIGHT, buildings, u, "height") * scale
    roof_top = top - _between(ROOF_HEIGHT, buildings, u, "roof_height") * scale
    mirror: Floats = np.where(u["mirror"] < np.float32(0.5), np.float32(-1), np.float32(1))
    middle = u.between("building_x", 0.38, 0.62)
    # A church's steeple stands beside the nave; both together are centred.
    body_x: Floats = np.where(buildings == CHURCH, middle - mirror * np.float32(0.04) * scale, middle)
    slot = u.whole("door_slot", -1, 1).astype(np.float32) * np.float32(2 * SIDE_WINDOW) * half_body
    body = {"body_x": body_x, "half_body": half_body, "top": top, "roof_top": roof_top, "base": base}
    annexe = _annexe(buildings, body_x, half_body, base, scale, mirror)
    box = _box(buildings, body, annexe)
    return Layout(
        horizon=horizon,
        box=box,
        **body,
        **annexe,
        **_door(buildings, slot, body_x, base, scale, annexe["annexe_x"]),
        **_windows(u, buildings, {**body, "slot": slot}, annexe),
        **_trees(u, places, base, box),
    )


def _annexe(
    buildings: NDArray[np.int64], body_x: Floats, half_body: Floats, base: Floats, scale: Floats, mirror: Floats
) -> Arrays:
    is_church = buildings == CHURCH
    is_castle = buildings == CASTLE
    sides = np.stack([body_x + mirror * half_body, body_x - mirror * half_body], axis=1)
    height = np.where(is_church, np.float32(0.37), np.float32(0.34)) * scale
    return {
        "annexe": np.stack([is_church | is_castle, is_castle], axis=1),
        "annexe_x": sides,
        "half_annexe": np.where(is_church, np.float32(0.075), np.float32(0.07)) * scale,
        "annexe_top": base - height,
        "spire_top": base - height - np.where(is_church, np.float32(0.21), np.float32(0.13)) * scale,
    }


def _door(
    buildings: NDArray[np.int64], slot: Floats, body_x: Floats, base: Floats, scale: Floats, annexe_x: Floats
) -> Arrays:
    """A house's door has its slot, a church's is in the steeple; the others' are in the middle."""
    in_slot = np.where(buildings == HOUSE, slot, np.float32(0))
    return {
        "door_x": np.where(buildings == CHURCH, annexe_x[:, 0], body_x + in_slot),
        "half_door": _column(DOOR_WIDTH, buildings) * scale / 2,
        "door_top": base - _column(DOOR_HEIGHT, buildings) * scale,
    }


def _windows(u: Nuisances, buildings: NDArray[np.int64], body: dict[str, Floats], annexe: Arrays) -> Arrays:
    """Two windows of the body, one of each annexe, and the barn's loft."""
    x, half, top, base = body["body_x"], body["half_body"], body["top"], body["base"]
    column = SIDE_WINDOW * 2 * half
    is_house, is_church, is_tower = (buildings == kind for kind in (HOUSE, CHURCH, TOWER))
    slot = body["slot"]
    # The steeple covers half of its own width of the nave; the windows share the rest.
    visible = x - np.sign(annexe["annexe_x"][:, 0] - x) * annexe["half_annexe"] / 2
    first = np.select(
        [is_house, is_church, is_tower], [np.where(slot < 0, x, x - column), visible - CHURCH_WINDOW, x], x - column
    )
    second = np.select(
        [is_house, is_church, is_tower], [np.where(slot > 0, x, x + column), visible + CHURCH_WINDOW, x], x + column
    )
    height = base - top
    low = base - height * np.where(is_tower, np.float32(0.52), np.float32(0.6))
    high = np.where(is_tower, base - height * np.float32(0.82), low)
    in_annexe = annexe["annexe_top"] + np.float32(0.09)
    loft = top - np.float32(0.42) * (top - body["roof_top"])
    least, most = np.asarray(N_WINDOWS)[buildings].T
    number = u.whole("n_windows", least, most)
    prefers_first = u["mirror"] < np.float32(0.5)
    size = u.between("window_size", 0.95, 1.12)[:, None]
    is_there = [
        (number == 2) | ((number == 1) & (prefers_first | is_tower)),
        (number == 2) | ((number == 1) & ~(prefers_first | is_tower)),
        annexe["annexe"][:, 0],
        annexe["annexe"][:, 1],
        buildings == BARN,
    ]
    return {
        "window": np.stack(is_there, axis=1),
        "window_x": np.stack([first, second, annexe["annexe_x"][:, 0], annexe["annexe_x"][:, 1], x], axis=1),
        "window_y": np.stack([low, high, in_annexe, in_annexe, loft], axis=1),
        "half_window": _column(HALF_WINDOW, buildings)[:, None] * size,
        "half_window_height": _column(HALF_WINDOW_HEIGHT, buildings)[:, None] * size,
    }


def _box(buildings: NDArray[np.int64], body: dict[str, Floats], annexe: Arrays) -> Floats:
    """Left, top, right and bottom of body, roof and annexes; eaves count."""
    x, half = body["body_x"], body["half_body"] + _column(EAVES, buildings)
    reach = np.where(annexe["annexe"], (annexe["half_annexe"] + ANNEXE_EAVES)[:, None], np.float32(0))
    centres = np.where(annexe["annexe"], annexe["annexe_x"], x[:, None])
    left = np.minimum(x - half, (centres - reach).min(axis=1))
    right = np.maximum(x + half, (centres + reach).max(axis=1))
    spire = np.where(annexe["annexe"][:, 0], annexe["spire_top"], np.float32(1))
    return np.stack([left, np.minimum(body["roof_top"], spire), right, body["base"]], axis=1)


def _trees(u: Nuisances, places: NDArray[np.int64], base: Floats, box: Floats) -> Arrays:
    """Trees behind the building: one at its left, one at its right, and one wherever there is room."""
    x = np.stack([u.between(f"tree{slot}_x", *bounds) for slot, bounds in enumerate(TREE_COLUMNS)], axis=1)
    wanted = (
        np.stack([u[f"tree{slot}"] for slot in range(N_TREES)], axis=1) < _column(TREE_PROBABILITY, places)[:, None]
    )
    tree = wanted & ((x < box[:, :1] - TREE_GAP) | (x > box[:, 2:3] + TREE_GAP))
    for other in range(N_TREES - 1):
        tree[:, -1] &= ~(tree[:, other] & (np.abs(x[:, -1] - x[:, other]) < TREE_SPACING))
    height = np.stack([u.between(f"tree{slot}_height", 0.18, 0.30) for slot in range(N_TREES)], axis=1)
    down = np.stack([u.between(f"tree{slot}_y", -0.05, 0.03) for slot in range(N_TREES)], axis=1)
    return {
        "tree": tree,
        "tree_x": x,
        "tree_base": base[:, None] + down,
        "tree_height": height,
        "crown": np.float32(0.35) * height,
    }
