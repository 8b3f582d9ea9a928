"""Pictures of any kind as uint8 arrays of one size: read by Pillow, which is imported only here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fedbal.data.dataset import AnyArray
from fedbal.errors import RunError, UsageError

MODES = {"grey": "L", "rgb": "RGB"}
Size = int | Sequence[int]


def decode(file: Any, where: str, size: Size | None, mode: str) -> AnyArray:
    """Return one picture, ``(h, w)`` or ``(h, w, 3)`` uint8.

    Parameters
    ----------
    file : path or binary file
        PNG, JPEG or whatever else Pillow reads.
    where : str
        Its name, for messages.
    size : int or (int, int), optional
        Height and width; the picture is resized to them without keeping its proportions. Left out: as it is.
    mode : str
        ``grey`` or ``rgb``. 16-bit grey keeps its high byte; transparency is dropped.

    Raises
    ------
    UsageError
        Pillow is not installed.
    RunError
        The picture is damaged.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise UsageError("pictures need Pillow: pip install 'fedbal[data]'.") from error
    try:
        with Image.open(file) as opened:
            picture = ImageOps.exif_transpose(opened)
            if picture.mode.startswith("I"):
                high = np.clip(np.asarray(picture).astype(np.int64) >> 8, 0, 255)
                picture = Image.fromarray(high.astype(np.uint8))
            picture = picture.convert(MODES[mode])
            if size is not None:
                height, width = (size, size) if isinstance(size, int) else size
                picture = picture.resize((width, height), Image.Resampling.BILINEAR)
            return np.asarray(picture, dtype=np.uint8)
    except Exception as error:
        # Decoders of damaged files raise whatever they run into.
        raise RunError(f"{where} is no readable picture ({error}); replace it or take it out.") from error


def stack(pictures: Sequence[AnyArray], names: Sequence[str], where: str) -> AnyArray:
    """Return pictures of one size as ``(n, h, w)`` or ``(n, h, w, 3)``; others are named."""
    for picture, name in zip(pictures, names, strict=True):
        if picture.shape != pictures[0].shape:
            raise UsageError(
                f"{where}: {name} is {picture.shape[0]}x{picture.shape[1]} and {names[0]} is "
                f"{pictures[0].shape[0]}x{pictures[0].shape[1]}; give data.size as [height, width]."
            )
    return np.stack(pictures)
