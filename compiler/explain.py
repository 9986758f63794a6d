"""A report for people."""

import io

from rich.console import Console
from rich.table import Table

from compiler.report import Report, ScalingReport, ScheduleReport, SiteReport

WIDTH = 132


def explain(report: Report, width: int = WIDTH) -> str:
    """The report as text: a table of sites, then what holds for the whole."""
    console = Console(file=io.StringIO(), width=width, force_terminal=False, highlight=False, emoji=False)
    console.print(_table(report))
    for line in _summary(report):
        console.print(line, markup=False, soft_wrap=True)
    console.print(_processes(report.scaling), markup=False, soft_wrap=True)
    console.print(_speed_ups(report.scaling))
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()) + "\n"


def _table(report: Report) -> Table:
    table = Table(title=f"{report.wiring} on {report.model}, batch {report.batch}", title_justify="left", title_style="bold")
    for heading in ("site", "activation", "shape", "hears", "synapse", "learns by", "locking"):
        table.add_column(heading, overflow="fold", no_wrap=heading in ("shape", "locking"))
    table.add_column("error numbers", justify="right", no_wrap=True)
    for site in report.sites:
        table.add_row(*_row(site))
    return table


def _row(site: SiteReport) -> tuple[str, ...]:
    def joined(field: str) -> str:
        return ", ".join(dict.fromkeys(str(getattr(edge, field)) for edge in site.edges)) or "-"

    shape = "x".join(map(str, site.shape))
    locking = site.locking or "frozen"
    return (
        site.name,
        site.activation,
        shape,
        joined("source"),
        joined("synapse"),
        joined("plasticity"),
        locking,
        f"{site.error_parameters:,}",
    )


def _summary(report: Report) -> list[str]:
    return [
        f"Parameters        forward {report.forward_parameters:,}, error {report.error_parameters:,}"
        + (f", frozen tensors: {_few(report.frozen)}" if report.frozen else ""),
        f"Work a step       {_giga(report.flops)} GFLOP, {report.flops / max(report.bp_flops, 1):.2f} of BP's {_giga(report.bp_flops)}",
        f"Activations       {_mega(report.peak_activation_bytes)} MB at the peak, "
        f"{report.peak_activation_bytes / max(report.bp_peak_activation_bytes, 1):.2f} of BP's {_mega(report.bp_peak_activation_bytes)}",
        *_schedule(report.schedule, report.bp_schedule),
        f"Weight transport  between sites: {_few(report.weight_transport)}; inside regions only: {_few(report.local_weight_transport)}",
        *([f"                  a mirror edge reads the scale of each normalisation that it passes: {_few(report.transported_scales)}"]
          if report.transported_scales else []),
        *(["Blocks            none found, so every site is at the top level; name them by Sites(blocks=...)"] if report.flat else []),
        *([f"Several credits   {_few(report.several_regions)} lie behind more than one site; contributions add up"] if report.several_regions else []),
    ]  # fmt: skip


def _schedule(own: ScheduleReport, bp: ScheduleReport) -> list[str]:
    """Two lines: what waits for what, and the predicted step by the number of streams, beside BP's."""
    share = own.critical_path_seconds / own.work_seconds if own.work_seconds else 1.0
    times = ", ".join(f"{_time(seconds)} on {streams}" for streams, seconds in own.predicted_seconds.items())
    return [
        f"Schedule          {own.tasks} tasks, up to {own.width} at a time; critical path {_time(own.critical_path_seconds)}, "
        f"{share:.0%} of the work's {_time(own.work_seconds)}",
        f"Predicted step    {times} streams; BP {_time(bp.predicted_seconds[1])} on 1 ({own.device})",
    ]


def _processes(scaling: ScalingReport) -> str:
    sums = "1 sum" if scaling.sums == 1 else f"{scaling.sums} sums"
    return (
        f"More processes    predicted below, each with this batch and a processor of its own; {_mega(scaling.summed_bytes)} MB a step in "
        f"{sums} over {scaling.network}"
    )


def _speed_ups(scaling: ScalingReport) -> Table:
    """The predicted speed-up by the number of processes."""
    table = Table()
    for heading in ("processes", "step", "samples a second", "speed-up"):
        table.add_column(heading, justify="right", no_wrap=True)
    for count, seconds in scaling.step_seconds.items():
        table.add_row(str(count), _time(seconds), f"{scaling.samples_per_second[count]:,.0f}", f"{scaling.speed_up(count):.2f}")
    return table


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f} us"


def _few(names: tuple[str, ...], limit: int = 4) -> str:
    if not names:
        return "none"
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def _giga(count: int) -> str:
    return f"{count / 1e9:.3f}"


def _mega(count: int) -> str:
    return f"{count / 1e6:.2f}"
