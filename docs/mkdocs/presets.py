"""The table of presets, read off the records that they return."""

from wiring import PRESETS, Wiring
from wiring.spec import (
    ByShape,
    Frozen,
    Gradient,
    Hebbian,
    Mirror,
    Plasticity,
    Synapse,
    Target,
)
from wiring.topology import Silent

SIGNALS = {"error": "error", "sign": "sign of the error", "target": "target"}
MIRRORS = {"forward": "the forward weights", "random": "mirror of the forward weights", "sign": "signs of the forward weights"}
COLUMNS = ("preset", "who hears whom", "the output sends", "over", "credit at a site", "error synapses learn by")


def presets() -> str:
    """A row a preset: topology, signal, synapse, credit, plasticity."""
    rows = [COLUMNS, ["---"] * len(COLUMNS), *([f"`{name}`", *_cells(preset())] for name, preset in PRESETS.items())]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def functions() -> str:
    """For mkdocstrings: each preset's module, whose text holds the formulas and sources, and its function."""
    kinds = "show_symbol_type_heading: false, show_symbol_type_toc: false"
    shown = f"options: {{heading_level: 3, show_root_heading: true, show_root_toc_entry: true, {kinds}}}"
    return "\n".join(f"::: wiring.presets.{name}\n    {shown}\n" for name in PRESETS)


def _cells(wiring: Wiring) -> list[str]:
    rule = wiring.rules[0]
    if isinstance(rule.topology, Silent):
        return ["nobody", "-", "-", "none: hidden layers are frozen", "-"]
    credit = {Gradient: "`d * phi'(h)`", Target: "`z - phi(h - beta d)`", Frozen: "none"}.get(type(rule.credit), rule.credit.kind)
    return [rule.topology.kind, SIGNALS[rule.signal], _synapse(rule.synapse), credit, _plasticity(rule.plasticity)]


def _synapse(synapse: Synapse) -> str:
    if isinstance(synapse, ByShape):
        return f"{_synapse(synapse.maps)} between maps, else {_synapse(synapse.vectors)}"
    return MIRRORS[synapse.weights] if isinstance(synapse, Mirror) else synapse.kind


def _plasticity(plasticity: Plasticity) -> str:
    if plasticity.kind == "fixed":
        return "-"
    return f"{plasticity.post}-Hebbian" if isinstance(plasticity, Hebbian) else plasticity.kind.replace("_", "-")
