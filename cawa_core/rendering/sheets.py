"""Sheets of images as PNG, for talks and pages: headed rows and columns, with a caption under each image."""

from __future__ import annotations

import dataclasses
import io
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from cawa_core.rendering.glyphs import as_code_points, font_file_for, lacking
from cawa_core.rendering.palette import light

PICTURE_SIDE = 168
"""Side of an image on the sheet in pixels; smaller images are enlarged to the nearest whole multiple."""
LARGEST_SIDE = 256
"""Largest side of an image on the sheet in pixels; larger images are shrunk to it."""
MARGIN, GAP, ROW_GAP, GROUP_GAP, FRAME = 36, 14, 12, 22, 4
"""Distances and the width of a frame in pixels."""
TITLE, HEADING, CAPTION = 28, 20, 17
"""Font sizes in pixels."""
CODE_POINTS = "\\uXXXX stands for a character that no installed font has."


@dataclasses.dataclass(frozen=True)
class Cell:
    """One image and its caption.

    Attributes:
        picture: uint8 ``[H, W]`` or ``[H, W, 3]``; None: the cell has only a caption.
        caption: text under the image; may have several lines.
        framed: whether the image is outlined, as the one that the rest of the row is compared with.
    """

    picture: NDArray[np.uint8] | None
    caption: str = ""
    framed: bool = False


@dataclasses.dataclass(frozen=True)
class SheetRow:
    """A row of images or captions with a label on the left; ``begins_group`` sets it apart from the rows above."""

    label: str
    cells: tuple[Cell, ...]
    begins_group: bool = False

    @property
    def has_pictures(self) -> bool:
        """Whether any cell has an image."""
        return any(cell.picture is not None for cell in self.cells)


@dataclasses.dataclass(frozen=True)
class Sheet:
    """The content of a sheet: each row has one cell per column."""

    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[SheetRow, ...]


def draw_sheet(sheet: Sheet) -> bytes:
    """Draw a sheet as PNG on white."""
    labels = [_wrapped(row.label, HEADING, 10) for row in sheet.rows]
    pictures = [cell.picture for row in sheet.rows for cell in row.cells if cell.picture is not None]
    side = _scaled(pictures[0]).width
    headings = [_fitted(column, HEADING, side) for column in sheet.columns]
    captions = [[_fitted(cell.caption, CAPTION, side + GAP) for cell in row.cells] for row in sheet.rows]
    left = MARGIN + max((_size(label, HEADING)[0] for label in labels), default=0) + GAP
    inner = len(sheet.columns) * (side + GAP) - GAP
    width = left + inner - MARGIN
    title = _fitted(sheet.title, TITLE, width, bold=True)
    note = _fitted(_explained(sheet), CAPTION, width)
    top = MARGIN + _size(title, TITLE)[1] + 2 * GAP
    heading_height = max(_size(heading, HEADING)[1] for heading in headings)
    caption_heights = [max(_size(caption, CAPTION)[1] for caption in row) + GAP // 2 for row in captions]
    gaps = [GROUP_GAP * (row.begins_group and index > 0) for index, row in enumerate(sheet.rows)]
    sides = [side if row.has_pictures else 0 for row in sheet.rows]
    body = sum(map(sum, zip(sides, caption_heights, gaps, strict=True))) + ROW_GAP * len(sheet.rows)
    height = top + heading_height + GAP + body + GAP + _size(note, CAPTION)[1] + MARGIN
    canvas = Image.new("RGB", (left + inner + MARGIN, height), "white")
    pen = ImageDraw.Draw(canvas)
    pen.multiline_text((MARGIN, MARGIN), title, light("ink"), _font(title, TITLE, bold=True))
    for column, heading in enumerate(headings):
        place = (left + column * (side + GAP) + side / 2, top + heading_height)
        pen.multiline_text(place, heading, light("ink"), _font(heading, HEADING), anchor="md", align="center")
    y = top + heading_height + GAP
    for row, label, row_captions, high, below, gap in zip(
        sheet.rows, labels, captions, sides, caption_heights, gaps, strict=True
    ):
        y += gap
        middle = y + (high / 2 if high else GAP // 2 + CAPTION / 2)
        pen.multiline_text((MARGIN, middle), label, light("ink"), _font(label, HEADING), anchor="lm")
        for column, (cell, caption) in enumerate(zip(row.cells, row_captions, strict=True)):
            x = left + column * (side + GAP)
            if cell.picture is not None:
                canvas.paste(_scaled(cell.picture).convert("RGB"), (x, y))
            if cell.framed:
                box = (x - FRAME, y - FRAME, x + side + FRAME - 1, y + side + FRAME - 1)
                pen.rectangle(box, outline=light("blue"), width=FRAME)
            place = (x + side / 2, y + high + GAP // 2)
            pen.multiline_text(place, caption, light("muted"), _font(caption, CAPTION), anchor="ma", align="center")
        y += high + below + ROW_GAP
    pen.multiline_text((MARGIN, y + GAP), note, light("muted"), _font(note, CAPTION))
    buffer = io.BytesIO()
    canvas.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _scaled(picture: NDArray[np.uint8]) -> Image.Image:
    """Scale an image to the sheet's size: small images by whole multiples, so that pixels stay square and sharp."""
    image = Image.fromarray(picture)
    multiple = round(PICTURE_SIDE / image.width)
    if multiple >= 2:
        return image.resize((image.width * multiple, image.height * multiple), Image.Resampling.NEAREST)
    if image.width > LARGEST_SIDE:
        return image.resize((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.LANCZOS)
    return image


def _font(text: str, size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    return _loaded(font_file_for(text, bold), size)


@cache
def _loaded(file: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(file, size)


def _drawable(text: str, bold: bool = False) -> str:
    """Write the characters of a text that no font has as code points."""
    return as_code_points(text, lacking(text, font_file_for(text, bold)))


def _explained(sheet: Sheet) -> str:
    """Return the note of a sheet, with the reason for code points if there are any."""
    captions = (cell.caption for row in sheet.rows for cell in row.cells)
    texts = (sheet.title, *sheet.columns, *(row.label for row in sheet.rows), *captions)
    has_codes = any(_drawable(text) != text for text in texts)
    return f"{sheet.note}\n{CODE_POINTS}" if has_codes else sheet.note


def _size(text: str, size: int) -> tuple[int, int]:
    box = ImageDraw.Draw(Image.new("L", (1, 1))).multiline_textbbox((0, 0), text, _font(text, size))
    return int(box[2]), int(box[3]) if text else 0


def _wrapped(text: str, size: int, columns: int) -> str:
    return _fitted(text, size, columns * size)


def _fitted(text: str, size: int, width: int, bold: bool = False) -> str:
    """Break text at spaces into lines of at most ``width`` pixels, unless a single word is wider."""
    drawable = _drawable(text, bold)
    font = _font(drawable, size, bold)
    return "\n".join(line for paragraph in drawable.split("\n") for line in _lines(paragraph.split(" "), font, width))


def _lines(words: list[str], font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    lines = []
    line = words[0]
    for word in words[1:]:
        if font.getlength(f"{line} {word}") > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}"
    return [*lines, line]
