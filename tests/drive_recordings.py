"""Recordings of a drive that is described by formulas alone, without the program's models."""

from pathlib import Path

import numpy as np

from iosim.drives.services import Services

REVOLUTION_MS, SPAN, BUS_MS = 60_000 / 7200, 4_000_000, 0.05
MISS_MS, SHORTEST_MS, ROOT_MS, LINE_MS, BORDER = 0.6, 1.0, 6.0, 5.0, 0.25
HIT_MS, WRITE_MS = (0.2, 0.25), (0.4, 0.5)


def seek_ms(distance: np.ndarray[tuple[int], np.dtype[np.float64]]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The seek beyond the shortest one."""
    share = distance / SPAN
    return ROOT_MS * np.sqrt(np.minimum(share, BORDER)) + LINE_MS * np.maximum(share - BORDER, 0)


def recorded(n: int, seed: int, back: bool = True) -> Services:
    """*n* requests, 70 % reads; of these 28 % go on behind a read and hit the buffer. *back*: writes are reported."""
    rng = np.random.default_rng(seed)
    read = rng.random(n) < 0.7
    follows = (rng.random(n) < 0.4) & read & np.r_[False, read[:-1]]
    sectors = rng.choice([4, 8, 16], n, p=[0.6, 0.3, 0.1])
    sector = rng.integers(0, SPAN - 16, n)
    for row in np.flatnonzero(follows):
        sector[row] = sector[row - 1] + sectors[row - 1]
    distance = np.r_[0, np.abs(sector[1:] - sector[:-1] - sectors[:-1])].astype(np.float64)
    behind_write = np.r_[False, ~read[:-1]].astype(int)
    medium = MISS_MS + SHORTEST_MS + seek_ms(distance) + rng.random(n) * REVOLUTION_MS + sectors * BUS_MS
    reported = np.take(WRITE_MS, behind_write) + sectors * BUS_MS
    hit = np.take(HIT_MS, behind_write) + sectors * BUS_MS
    ms = np.where(read, np.where(follows, hit, medium), reported if back else medium)
    service = np.rint((ms + rng.normal(0, 0.002, n)) * 1e6).astype(np.int64)
    step = service + rng.integers(20_000_000, 60_000_000, n)
    start = np.cumsum(step) - step
    return Services((~read).astype(np.uint8), sector, sectors, start, start + service, "made")


def write(services: Services, path: Path) -> Path:
    """Write *services* as a drive trace."""
    think = [*services.gap_ns[1:].tolist(), 30_000_000]
    rows = zip(services.op, services.sector, services.sectors, services.service_ns, think, strict=True)
    path.write_text(
        "".join(f"{'RW'[op]} Hit {sector} {n} {ns / 1e3:.3f} {gap / 1e3:.3f}\n" for op, sector, n, ns, gap in rows),
        encoding="utf-8",
    )
    return path
