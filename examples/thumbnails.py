"""Makes small pictures with a library that hangs and crashes: `python thumbnails.py`.

The script writes a folder of pictures, some of which the library can't stand, and runs the
command line over it, with each picture in a process:

    majordomo2 run thumbnails:thumbnail --files '*.pgm' --runner process --keepalive 2
        --retries 1

All the others get their small picture. The exit status is 1, as some pictures failed.
"""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

EXAMPLES = Path(__file__).parent
OPTIONS = ["--runner", "process", "--keepalive", "2", "--retries", "1"]
STEP = 4  # of so many pixels, and so many rows, one is kept

# The library. Its bugs are real ones, if on purpose.

# Where a row has many digits and then anything else, it tries each way to part them.
ROWS = re.compile(r"(?:(?:[0-9]+ ?)+\n)+")


def decode(text: str) -> list[list[int]]:
    """The rows of a picture in the format plain PGM."""
    if not text.startswith("P2\n"):
        raise ValueError("this is no plain PGM")
    _, size, _, rows = text.split("\n", 3)
    if not ROWS.fullmatch(rows):
        raise ValueError("there must be rows of numbers")
    pixels = [[int(number) for number in row.split()] for row in rows.splitlines()]
    _, height = size.split()
    if len(pixels) < int(height):
        ctypes.string_at(0)  # it reads on, and there is nothing
    return pixels


def encode(pixels: list[list[int]]) -> str:
    rows = (" ".join(map(str, row)) for row in pixels)
    return "\n".join(["P2", f"{len(pixels[0])} {len(pixels)}", "255", *rows, ""])


# What is run for each picture


def thumbnail(picture: Path) -> Path:
    """Write a small one into the folder `small`."""
    pixels = decode(picture.read_text("ascii"))
    small = picture.parent / "small" / picture.name
    small.parent.mkdir(exist_ok=True)
    small.write_text(encode([row[::STEP] for row in pixels[::STEP]]))
    return small


# The script


def write_pictures(folder: Path) -> None:
    """Five good ones, and three others."""
    for shade, name in enumerate(["castle", "dog", "harbour", "lemon", "windmill"]):
        rows = [[(x * y + shade) % 256 for x in range(64)] for y in range(48)]
        (folder / f"{name}.pgm").write_text(encode(rows))
    (folder / "broken.pgm").write_text("not found\n")
    (folder / "hangs.pgm").write_text(f"P2\n64 48\n255\n{'0' * 64}?\n")
    (folder / "crashes.pgm").write_text("P2\n64 48\n255\n0 0 0\n")


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        write_pictures(Path(folder))
        command = [sys.executable, "-m", "majordomo2", "run", "thumbnails:thumbnail"]
        done = subprocess.run(  # noqa: S603 - the command is our own
            [*command, "--files", "*.pgm", *OPTIONS],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(EXAMPLES)},  # where this module is
            check=False,
        )
        made = sorted(file.name for file in Path(folder, "small").iterdir())
    print("small pictures:", *made)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
