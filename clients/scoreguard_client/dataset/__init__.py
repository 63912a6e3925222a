"""Data sets: the attacked images of a run as a folder that can be published, with its table and datasheet."""

from __future__ import annotations

from scoreguard_client.dataset.errors import DatasetError
from scoreguard_client.dataset.publish import NOT_STATED, DatasetOptions, Published, publish

__all__ = ["NOT_STATED", "DatasetError", "DatasetOptions", "Published", "publish"]
