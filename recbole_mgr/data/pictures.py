"""Opening a picture of whatever kind, so that every encoder sees the same pixels."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageOps


def read_picture(path: str | Path) -> Image.Image:
    """Read and decode a whole picture file: RGB, upright, transparent pixels on white.

    Raises:
        ValueError: If the file cannot be read as a picture.
    """
    try:
        with Image.open(path) as file:
            picture = ImageOps.exif_transpose(file)  # a decoded copy
            if picture.mode == "RGB":
                return picture
            rgba = picture.convert("RGBA")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"picture {str(path)!r} cannot be read ({error}): replace the file, or leave its item without a picture"
        ) from error
    canvas = Image.new("RGBA", rgba.size, "white")
    canvas.alpha_composite(rgba)
    return canvas.convert("RGB")
