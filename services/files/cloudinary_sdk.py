"""Cloudinary's SDK, imported without CLOUDINARY_URL.

The SDK reads that variable when it is imported and raises if it is malformed. The server has its own settings instead.
"""

import os

os.environ.pop("CLOUDINARY_URL", None)

from cloudinary import exceptions, uploader

__all__ = ["exceptions", "uploader"]
