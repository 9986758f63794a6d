"""What a compiled program says of itself: the records that ``program.report()`` returns."""

from typing import Literal

from wiring.record import Record

Locking = Literal["update-unlocked", "backward-unlocked", "locked"]


class EdgeReport(Record):
    """An error edge into a site. ``parameters``: its error parameters by name; ``numbers``: how many numbers they hold."""

    source: str
    kind: Literal["adjacent", "skip"]
    synapse: str
    plasticity: str
    parameters: tuple[str, ...]
    numbers: int


class SiteReport(Record):
    """A site. ``shape``: of one sample. ``parameters``: the forward parameters that its credit teaches.

    ``locking``: ``update-unlocked`` where credit depends on the site's own forward pass and the label only,
    ``backward-unlocked`` where it waits for the output's signal but for no other site's, else ``locked``.
    """

    name: str
    activation: str
    shape: tuple[int, ...]
    block: str | None
    edges: tuple[EdgeReport, ...]
    error_parameters: int
    parameters: tuple[str, ...]
    locking: Locking | None


class ScheduleReport(Record):
    """The program's schedule by the cost model of ``device``.

    ``work_seconds``: all tasks one behind the other. ``critical_path``: the longest chain of tasks that must wait for each other.
    ``width``: the most tasks that ever run at a time if each starts as soon as it can. ``predicted_seconds``: of a step, by the
    number of streams, hand-overs included.
    """

    device: str
    tasks: int
    work_seconds: float
    critical_path: tuple[str, ...]
    critical_path_seconds: float
    width: int
    predicted_seconds: dict[int, float]


class ScalingReport(Record):
    """The program on several processes, each with the step's batch and a processor of its own, by the cost model.

    ``network``: what lies between them. ``sums``, ``summed_bytes``: collectives of a step, and the bytes that each process puts into
    them. ``step_seconds``, ``samples_per_second``: by the number of processes; the latter of all together.
    """

    network: str
    sums: int
    summed_bytes: int
    step_seconds: dict[int, float]
    samples_per_second: dict[int, float]

    def speed_up(self, processes: int) -> float:
        """How many times as many samples a second as one process."""
        alone = self.samples_per_second[1]
        return self.samples_per_second[processes] / alone if alone else 1.0


class Report(Record):
    """A program. Numbers of parameters count single numbers; ``flops`` one step; ``*_bytes`` activations live at the peak.

    ``weight_transport``: forward parameters that error paths between sites read; ``transported_scales``: those of them that are the
    scales of normalisations, which a mirror edge passes through and so reads. ``local_weight_transport``: those that
    only local gradients inside a region read. ``several_regions``: parameters that more than one site credits.
    ``flat``: a recursive topology found no blocks to descend into.
    """

    wiring: str
    model: str
    batch: int
    sites: tuple[SiteReport, ...]
    forward_parameters: int
    error_parameters: int
    weight_transport: tuple[str, ...]
    transported_scales: tuple[str, ...]
    local_weight_transport: tuple[str, ...]
    several_regions: tuple[str, ...]
    frozen: tuple[str, ...]
    flat: bool
    flops: int
    bp_flops: int
    peak_activation_bytes: int
    bp_peak_activation_bytes: int
    schedule: ScheduleReport
    bp_schedule: ScheduleReport
    scaling: ScalingReport
