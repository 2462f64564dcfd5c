"""Twin of `iosim.model.records`: adding up what a request has spent."""

from iosim.model import records
from iosim.model.records import PartSums


class Request(records.Request):
    """One request of a guest."""

    __slots__ = ()

    def settle(self, sums: PartSums) -> None:
        """Add up `parts`, at the request's end."""
        if not self.parts:
            return
        added: list[int]
        added, exits, userspace_exits, irq_lines = sums.of(tuple(self.parts))
        self.parts = []
        stages = self.stages
        for stage in range(len(added)):
            stages[stage] += added[stage]
        self.exits += exits
        self.userspace_exits += userspace_exits
        self.irq_line_ioctls += irq_lines
