"""A log file as a program and logrotate treat it: it grows, is renamed or copied and truncated, and its older parts are packed."""

import gzip
import os
import random
import shutil
from pathlib import Path


class GrowingLog:
    """Every line has a number of its own. `rng` decides what happens."""

    def __init__(self, path: Path, rng: random.Random) -> None:
        self.path = path
        self._rng = rng
        self.written: list[str] = []
        """The messages, as records have them."""
        self.rotations = 0

    def grow(self, most: int = 60, *, least: int = 0) -> None:
        """Some records more, fewer than `most`, some of them over several lines."""
        with self.path.open("a") as out:
            for _ in range(self._rng.randrange(least, most)):
                number = len(self.written)
                message = f"order {number} was refused"
                if self._rng.random() < 0.1:
                    message += "\njava.lang.IllegalStateException: no stock\n\tat shop.Order.check(Order.java:71)"
                out.write(f"2026-11-20T10:00:00.{number % 1000:03d}Z ERROR {message}\n")
                self.written.append(message)

    def rotate(self, *, copy: bool | None = None, pack: bool | None = None) -> None:
        """As logrotate does, in one of its ways; `copy` and truncate or rename, and `pack` or not, if they are given."""
        if not self.path.exists() or not self.path.stat().st_size:
            return
        self.rotations += 1
        for number in range(self.rotations, 0, -1):
            for suffix in ("", ".gz"):
                part = self._part(number, suffix)
                if part.exists():
                    part.rename(self._part(number + 1, suffix))
        if self._rng.random() < 0.5 if copy is None else copy:
            shutil.copy2(self.path, self._part(1))
            os.truncate(self.path, 0)
        else:
            self.path.rename(self._part(1))
            if self._rng.random() < 0.7:
                self.path.touch()
        if self._rng.random() < 0.5 if pack is None else pack:
            self.pack(self._rng.choice((1, 2)))

    def pack(self, number: int) -> None:
        """Packs an older part."""
        self._pack(self._part(number))

    def _part(self, number: int, suffix: str = "") -> Path:
        return self.path.with_name(f"{self.path.name}.{number}{suffix}")

    @staticmethod
    def _pack(part: Path) -> None:
        if not part.exists():
            return
        status = part.stat()
        packed = part.with_name(f"{part.name}.gz")
        with packed.open("wb") as out, gzip.open(out, "wb") as pieces:
            pieces.write(part.read_bytes())
        os.utime(packed, ns=(status.st_atime_ns, status.st_mtime_ns))
        part.unlink()
