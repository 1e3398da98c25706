"""Colours by role, for light and dark; figures are drawn in the light ones and turned into CSS variables."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Colour:
    """One role's colour in both themes, as ``#rrggbb``."""

    light: str
    dark: str


PALETTE = {
    "ink": Colour("#1d2430", "#e8eaf0"),
    "muted": Colour("#5e6878", "#9aa4b5"),
    "rule": Colour("#d3d8e0", "#3a4250"),
    "blue": Colour("#2461b8", "#7db2ff"),
    "red": Colour("#c2362c", "#ff8d80"),
    "pink": Colour("#e5938c", "#b8605a"),
    "green": Colour("#1b7f5c", "#5fd0a4"),
    "amber": Colour("#a86400", "#f0b350"),
    "violet": Colour("#7a4bb3", "#c19bf5"),
    "band": Colour("#e9ecf1", "#262d39"),
}


def light(role: str) -> str:
    """The colour that figures are drawn in."""
    return PALETTE[role].light


def css_variables(theme: str) -> str:
    """``--ink: #...;`` and so on for ``light`` or ``dark``."""
    return " ".join(f"--{role}: {getattr(colour, theme)};" for role, colour in PALETTE.items())


def with_css_variables(svg: str) -> str:
    """Replace every palette colour in an SVG by its CSS variable, so that it follows the page's theme."""
    for role, colour in PALETTE.items():
        svg = svg.replace(colour.light, f"var(--{role})")
    return svg
