"""Write the data set of a run: a folder that appears when it is complete, the same bytes each time."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scoreguard.support.digests import sha256_of
from scoreguard.v1.codec import ImageArray
from scoreguard_client._exceptions import ImageError
from scoreguard_client._images import from_file, read_bytes
from scoreguard_client.campaign.gallery import image_path
from scoreguard_client.campaign.ledger import Ledger
from scoreguard_client.campaign.originals import Originals
from scoreguard_client.dataset.datasheet import NOT_STATED, Sheet, datasheet, licences
from scoreguard_client.dataset.errors import DatasetError
from scoreguard_client.dataset.file_names import ATTACKED, CLEAN, attacked_name, folder_name, plain_names
from scoreguard_client.dataset.rows import AttackedImage, Row, Table, TableMaker, attacked_images
from scoreguard_client.dataset.table_files import TableWriter, write_csv, write_parquet
from scoreguard_client.progress import Progress
from scoreguard_client.scores.fidelity import l_infinity
from scoreguard_client.target.images import ImageRef, frame_of, unit_values

SUMS: Final = "SHA256SUMS"
WRITERS: Final[tuple[TableWriter, ...]] = (write_csv, write_parquet)
_SAME: Final = 1e-9
_UNFINISHED: Final = ".publishing"

__all__ = ["NOT_STATED", "DatasetOptions", "Published", "publish"]


@dataclass(frozen=True, kw_only=True)
class DatasetOptions:
    """The user's options."""

    run: Path
    """The run directory."""
    out: Path
    """The folder to write."""
    images: Path | None = None
    """Folder of the clean images; None = where the run had them."""
    title: str = ""
    """Name of the data set; empty = after the run."""
    licence: str = NOT_STATED
    """Licence of the clean images."""
    source: str = NOT_STATED
    """Where the clean images are from."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """What was written."""

    attacked: int
    """Attacked images."""
    clean: int
    """Clean images."""
    files: int
    """Files in all."""
    size: int
    """Bytes in all."""


def publish(
    options: DatasetOptions, progress_for: Callable[[int], Progress], writers: Sequence[TableWriter] = WRITERS
) -> Published:
    """Write the data set of a run.

    Args:
        options: what to do.
        progress_for: called with the number of images; returns the progress callback.
        writers: what writes the table.

    Raises:
        DatasetError: the run has not kept its attacked images, or the folder is there or cannot be written.
        PlanError: the clean images are gone.
        RunError: there is no run, or it cannot be read.
        MissingExtraError: pyarrow is not installed.
    """
    if options.out.exists() and (not options.out.is_dir() or any(options.out.iterdir())):
        raise DatasetError(f"{options.out} is there already: publish into a new folder")
    with Ledger.open(options.run) as ledger:
        plan, facts, records, failed = ledger.plan, ledger.facts, ledger.records(), len(ledger.failures())
    attacked = attacked_images(plan, records)
    _check_kept(options.run, attacked)
    maker = TableMaker(plan, facts)
    with _unfinished(options.out) as folder:
        for write in writers:
            # Before the long work, in case a package is missing.
            write(Table(columns=maker.columns, rows=()), folder)
        progress = progress_for(len(plan.images) + len(attacked))
        copier = _Copier(options, folder, Originals.of(facts, options.images), plain_names(i.name for i in plan.images))
        for image in plan.images:
            progress(0, image.name)
            copier.copy_clean(image)
            progress(1, "")
        rows = []
        for one in sorted(attacked, key=copier.attacked_file):
            progress(0, f"{one.image.name}, {one.attack.partition(':')[0]}")
            rows.append(copier.row(one, maker))
            progress(1, "")
        table = Table(columns=maker.columns, rows=tuple(rows))
        sheet = Sheet(
            title=options.title or f"Attacked images of {options.run.resolve().name}",
            licence=options.licence,
            source=options.source,
            plan=plan,
            facts=facts,
            table=table,
            failed=failed,
        )
        for write in writers:
            write(table, folder)
        (folder / "README.md").write_text(datasheet(sheet), encoding="utf-8")
        (folder / "LICENSES").write_text(licences(sheet), encoding="utf-8")
        size = _write_sums(folder)
    files = sum(1 for path in options.out.rglob("*") if path.is_file())
    return Published(attacked=len(rows), clean=len(plan.images), files=files, size=size)


def _check_kept(run: Path, attacked: Sequence[AttackedImage]) -> None:
    if not attacked:
        raise DatasetError(f"{run} has no attacked image yet; run scoreguard attack first")
    missing = [one for one in attacked if not kept_file(run, one).is_file()]
    if missing:
        raise DatasetError(
            f"{run} kept {len(attacked) - len(missing)} of its {len(attacked)} attacked images: run the same "
            "scoreguard attack with --keep-attacked and another --out, which makes the same images again"
        )


def kept_file(run: Path, attacked: AttackedImage) -> Path:
    """Return where a run keeps an attacked image."""
    parts = {"metric": attacked.metric, "attack": attacked.attack, "attacked_through": attacked.attacked_through}
    return image_path(run, attacked.image.name, **parts)


class _Copier:
    """Copies images into the folder, and makes the rows of the table."""

    def __init__(self, options: DatasetOptions, folder: Path, originals: Originals, names: dict[str, str]) -> None:
        self._originals = originals
        self._run, self._folder, self._names = options.run, folder, names
        self._last: tuple[str, ImageArray] | None = None
        self._digests: dict[str, str] = {}

    def copy_clean(self, image: ImageRef) -> None:
        """Write a clean image as it is."""
        _, data = self._originals.file(image)
        self._digests[image.name] = sha256_of(data)
        _write(self._folder / self._clean_file(image.name), data)

    def attacked_file(self, one: AttackedImage) -> str:
        """Return the file of an attacked image."""
        folders = (one.metric, folder_name(one.attack), folder_name(one.attacked_through))
        return "/".join([ATTACKED, *folders, attacked_name(self._names[one.image.name])])

    def row(self, one: AttackedImage, maker: TableMaker) -> Row:
        """Write an attacked image, and return its row.

        Raises:
            DatasetError: what the run has kept is not what it has scored.
        """
        path = kept_file(self._run, one)
        try:
            data = read_bytes(path)
            levels = from_file(path, data)
        except ImageError as error:
            raise DatasetError(str(error)) from error
        clean, recorded = self._clean(one), one.records[0].l_inf_8bit
        is_same = levels.shape == clean.shape and recorded is not None
        if not is_same or abs(l_infinity(unit_values(clean), unit_values(levels)) - (recorded or 0.0)) > _SAME:
            raise DatasetError(f"{path} is not the image that the run has scored: it was changed since")
        file = self.attacked_file(one)
        _write(self._folder / file, data)
        files = {
            "file_name": file,
            "clean_file_name": self._clean_file(one.image.name),
            "sha256": sha256_of(data),
            "clean_sha256": self._digests[one.image.name],
        }
        return maker.row(one, levels, clean, files)

    def _clean(self, one: AttackedImage) -> ImageArray:
        if self._last is None or self._last[0] != one.image.name:
            self._last = one.image.name, self._originals.read(one.image)
        return self._last[1]

    def _clean_file(self, name: str) -> str:
        plain = self._names[name]
        return f"{CLEAN}/{plain if frame_of(name) is None else attacked_name(plain)}"


@contextmanager
def _unfinished(out: Path) -> Iterator[Path]:
    """Yield a folder beside the destination that takes its place when the block ends, and goes away if it fails."""
    folder = out.with_name(f".{out.name}{_UNFINISHED}")
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        yield folder
        if out.is_dir():
            out.rmdir()
        folder.rename(out)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise DatasetError(f"{out}: cannot be written: {error.strerror or error}") from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _write_sums(folder: Path) -> int:
    """Write the digest of every file, and return the bytes of all."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    digests = {path.relative_to(folder).as_posix(): sha256_of(path.read_bytes()) for path in paths}
    (folder / SUMS).write_text("".join(f"{digest}  {name}\n" for name, digest in digests.items()), encoding="utf-8")
    return sum(path.stat().st_size for path in [*paths, folder / SUMS])
