"""Logs of sampled requests: taken out of native memory as arrays of numbers."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from iosim.compiled import layout
from iosim.compiled.image import Image
from iosim.model.stages import Stage
from iosim.model.steps import Item, Path, Template
from iosim.results.sampling import Step
from iosim.run import Collector

_Words = npt.NDArray[np.int64]

_AT_ONCE = 1 << 16
"""Entries that are looked at together, or those of one log if it has more."""
_START, _THREAD, _WHAT, _FOURTH, _FIFTH = range(1, 6)
"""Where the parts of an entry are."""


class SampledLogs:
    """Adds up the logs of sampled requests that the twin of a collector has.

    What an entry says but for times is a step, and has the same number in all logs: the objects that it is made of are
    kept alive in native memory for that.
    """

    def __init__(self, image: Image, collector: Collector) -> None:
        self._image = image
        self._collector = collector
        self._functions = collector.functions
        self._item = image.number_of(Item)
        self._numbers: dict[tuple[int, ...], int] = {}
        self._steps: list[Step] = []
        self._all_held = True

    def take(self) -> None:
        """Add up the logs that are there now, which the twin then lets go."""
        image = self._image
        logs: list[tuple[tuple[str, int, str], _Words]] = []
        n = 0
        for vm, drive, op, entries in image.tuples(image.word_in(self._collector, "sampled"), 4).tolist():
            items = image.items(entries)
            if logs and n + len(items) > _AT_ONCE:
                self._add(logs)
                logs, n = [], 0
            logs.append(((image.decode(vm), image.decode(drive), image.decode(op)), items))
            n += len(items)
        if logs:
            self._add(logs)
        if not self._all_held:
            image.forget()
            self._functions.forget_steps()
            self._numbers, self._steps, self._all_held = {}, [], True

    def _add(self, logs: list[tuple[tuple[str, int, str], _Words]]) -> None:
        base, words = self._image.base, self._image.words
        at = np.concatenate([items for _, items in logs]) - base >> 3
        sizes = words[at] >> layout.SIZE_SHIFT
        thread, what = words[at + _THREAD], words[at + _WHAT]
        fourth, fifth = (np.where(sizes > k, words[at + k], 0) for k in (_FOURTH, _FIFTH))
        is_wait = what & 1 == 1
        header = words[np.where(is_wait, self._image.FIRST, what - base >> 3)]
        is_timed = is_wait | (header & layout.CLASS_MASK == self._item)
        is_drawn = ~is_timed & (fourth != 0)
        starts = words[at + _START] >> 1
        ns = np.where(is_timed, (fourth >> 1) - starts, 0)
        numbers = self._numbered(thread, what, fifth)
        end = 0
        for place, items in logs:
            log = slice(end, end + len(items))
            end = log.stop
            if is_drawn[log].any():
                columns = (starts[log], numbers[log], np.where(is_drawn[log], fourth[log], 0), ns[log])
                entries = [self._entry(*entry) for entry in zip(*[column.tolist() for column in columns], strict=True)]
                self._functions.add_log(*place, entries)
            else:
                self._functions.add_steps(*place, numbers[log], ns[log], self._steps)

    def _numbered(self, *columns: _Words) -> npt.NDArray[np.int32]:
        """Return the number of each step: its thread, what it is, and what more there is to say of it."""
        codes = np.zeros(len(columns[0]), dtype=np.int64)
        for column in columns:
            code, different = pd.factorize(column)
            codes, _ = pd.factorize(codes * len(different) + code)
        first = np.zeros(codes.max(initial=-1) + 1, dtype=np.intp)
        first[codes[::-1]] = np.arange(len(codes))[::-1]
        numbers = []
        for step in zip(*[column[first].tolist() for column in columns], strict=True):
            number = self._numbers.get(step)
            if number is None:
                number = self._numbers[step] = len(self._steps)
                self._steps.append(self._step(*step))
                for word in step:
                    self._all_held &= self._image.hold(word)
            numbers.append(number)
        return np.array(numbers, dtype=np.int32)[codes]

    def _step(self, thread: int, what: int, more: int) -> Step:
        decode = self._image.decode
        found: Any = decode(what)
        return Step(decode(thread), Stage(found) if isinstance(found, int) else found, decode(more))

    def _entry(self, start: int, number: int, drawn: int, ns: int) -> tuple[Any, ...]:
        """Return an entry as `iosim.host.thread` and `iosim.model.records` write it."""
        thread, what, more = self._steps[number]
        if isinstance(what, Item | Stage):
            return start, thread, what, start + ns, more
        costs = self._image.integers(drawn) if drawn else None
        if isinstance(what, Template):
            return start, thread, what, None if costs is None else costs.reshape(-1, len(what.variable)), more
        if costs is None:
            return start, thread, what
        return start, thread, what, costs.tolist() if isinstance(what, Path) else costs
