"""Program -> the table of its sites, and what a step costs: what ``errorwire explain`` says."""

from typing import Any

from compiler import CompileError, UpdateProgram
from compiler.report import Report, SiteReport

LOCKING = {
    "update-unlocked": "The site learns from its own forward pass and the label alone.",
    "backward-unlocked": "The site waits for the output's signal, but for no other site's.",
    "locked": "The site waits for the error of another site.",
    "frozen": "The site does not learn.",
}


def sites(program: UpdateProgram) -> dict[str, Any]:
    """A row a site, figures of the whole, and what locking means; or why there are none."""
    try:
        report = program.report()
    except CompileError as problem:
        return {"rows": [], "figures": [], "locking": {}, "trouble": f"Backpropagation cannot be compared with. {problem}"}
    rows = [_row(site) for site in report.sites]
    there = {row["locking"] for row in rows}
    return {
        "rows": rows,
        "figures": _figures(report),
        "locking": {name: text for name, text in LOCKING.items() if name in there},
        "trouble": None,
    }


def _row(site: SiteReport) -> dict[str, Any]:
    def joined(field: str) -> str:
        return ", ".join(dict.fromkeys(str(getattr(edge, field)) for edge in site.edges))

    return {
        "site": site.name,
        "activation": site.activation,
        "shape": "x".join(map(str, site.shape)),
        "block": site.block or "",
        "hears": joined("source"),
        "synapse": joined("synapse"),
        "plasticity": joined("plasticity").replace("_", " "),
        "locking": site.locking or "frozen",
        "numbers": site.error_parameters,
    }


def _figures(report: Report) -> list[tuple[str, str, str]]:
    """What it is, the figure, and what there is to say of it."""
    schedule, bp = report.schedule, report.bp_schedule
    flops, memory = report.flops / max(report.bp_flops, 1), report.peak_activation_bytes / max(report.bp_peak_activation_bytes, 1)
    found = [
        ("Work a step", f"{flops:.2f} of BP's", f"{report.flops / 1e9:.3f} GFLOP against {report.bp_flops / 1e9:.3f}"),
        (
            "Activations at the peak",
            f"{memory:.2f} of BP's",
            f"{report.peak_activation_bytes / 1e6:.2f} MB against {report.bp_peak_activation_bytes / 1e6:.2f}",
        ),
        ("Forward parameters", f"{report.forward_parameters:,}", _few("frozen tensors: ", report.frozen)),
        ("Error parameters", f"{report.error_parameters:,}", "numbers in error synapses"),
        (
            "Weights carried between sites",
            str(len(report.weight_transport)),
            _few("", report.weight_transport) or "no error path reads a forward weight: no weight transport",
        ),
        ("Weights read inside regions", str(len(report.local_weight_transport)), _few("", report.local_weight_transport)),
        (
            "Predicted step",
            " / ".join(_time(schedule.predicted_seconds[streams]) for streams in (1, 2, 4)),
            f"on 1, 2 and 4 streams of {schedule.device}; BP takes {_time(bp.predicted_seconds[1])} on 1",
        ),
        (
            "Critical path",
            _time(schedule.critical_path_seconds),
            f"of {_time(schedule.work_seconds)} of work in {schedule.tasks} tasks, up to {schedule.width} at a time",
        ),
    ]
    if report.several_regions:
        found.append(("Several credits", str(len(report.several_regions)), _few("", report.several_regions)))
    return found


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f} µs"


def _few(before: str, names: tuple[str, ...], limit: int = 4) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"{before}{', '.join(names[:limit])}{more}" if names else ""
