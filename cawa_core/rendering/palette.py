"""Colours by role for both themes; figures are drawn in the light ones, which become CSS variables on a page."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Colour:
    """Colour of one role in both themes, as ``#rrggbb``."""

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
    """Return the light colour of a role, in which figures are drawn."""
    return PALETTE[role].light


def css_variables(theme: str) -> str:
    """Return CSS variables (``--ink: #...;`` and so on) for the theme ``light`` or ``dark``."""
    return " ".join(f"--{role}: {getattr(colour, theme)};" for role, colour in PALETTE.items())


def with_css_variables(svg: str) -> str:
    """Replace every palette colour in an SVG by its CSS variable, so that it follows the page's theme."""
    for role, colour in PALETTE.items():
        svg = svg.replace(colour.light, f"var(--{role})")
    return svg
