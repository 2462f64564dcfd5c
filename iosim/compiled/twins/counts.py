"""Twin of `iosim.qemu.qcow2.counts`: arrays are lists."""


def table(n: int) -> list[int]:
    """Return *n* entries, all 0."""
    return [0] * n


def block(n: int) -> list[int]:
    """Return *n* counts, all 0."""
    return [0] * n


def find(counts: list[int], count: int, position: int) -> int:
    """Return the first place from *position* on that has *count*, -1 if there is none."""
    for at in range(position, len(counts)):
        if counts[at] == count:
            return at
    return -1


def fill(counts: list[int], position: int, n: int, count: int) -> None:
    """Set *n* counts from *position* on."""
    for at in range(position, position + n):
        assert counts[at] == 1 - count
        counts[at] = count
