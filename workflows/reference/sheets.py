"""Sheets of pictures: one row per class, in one or two columns of rows."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cawa_core.storage import write_atomically

GAP = 2
"""Pixels between pictures, before enlargement."""


def sheet(rows: NDArray[np.uint8], columns_of_rows: int = 2, enlargement: int = 2) -> Image.Image:
    """Put pictures ``[rows, per row, H, W, 3]`` on one sheet, the rows in several columns."""
    n_rows, n_pictures, height, width, _ = rows.shape
    per_column = -(-n_rows // columns_of_rows)
    cell_height, cell_width = height + GAP, width + GAP
    block_width = n_pictures * cell_width + 2 * GAP
    canvas = np.full((per_column * cell_height, columns_of_rows * block_width, 3), 255, dtype=np.uint8)
    for row in range(n_rows):
        column, place = divmod(row, per_column)
        for number in range(n_pictures):
            top, left = place * cell_height, column * block_width + number * cell_width
            canvas[top : top + height, left : left + width] = rows[row, number]
    picture = Image.fromarray(canvas)
    return picture.resize((picture.width * enlargement, picture.height * enlargement), Image.Resampling.NEAREST)


def write_sheet(path: Path, rows: NDArray[np.uint8]) -> None:
    """Write a sheet as PNG."""
    buffer = io.BytesIO()
    sheet(rows).save(buffer, format="PNG")
    write_atomically(path, buffer.getvalue())
