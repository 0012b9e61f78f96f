"""Pictures inside of pages and answers."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image


def png_address(picture: Image.Image | np.ndarray) -> str:
    """A picture, or its pixels uint8 [height, width, 3], as a ``data:`` address."""
    content = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(content, "PNG")
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"
