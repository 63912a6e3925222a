"""Reading images, from the bytes of a file to values: the same rules for server and client.

- Nothing is decoded before the size is known and allowed.
- Samples are read at the file's bit depth: 8 bits stay uint8, deeper ones become float32 in [0, 1].
- Transparency is composed over white, the EXIF orientation is applied, grey is repeated over three channels.
- Metadata never decides whether an image can be read: what does not describe the samples is removed before decoding.
- A file that cannot be read correctly is refused, with a one-line message that says what to do.
"""

from __future__ import annotations

from scoreguard.images.kinds import KINDS, SUFFIXES, image_files, is_image_path, kind_of
from scoreguard.images.pillow_images import read_pillow
from scoreguard.images.reader import read_image
from scoreguard.images.source import MAX_PIXELS, MAX_SECONDS

__all__ = [
    "KINDS",
    "MAX_PIXELS",
    "MAX_SECONDS",
    "SUFFIXES",
    "image_files",
    "is_image_path",
    "kind_of",
    "read_image",
    "read_pillow",
]
