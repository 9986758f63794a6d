"""How DKP's networks are trained, the same on every data set ("Learning the Connections in Direct Feedback Alignment")."""

from collections.abc import Mapping

from runtime.reproduce.study import Case

ROWS = {
    "bp": "bp",
    "fa": "fa",
    "dfa": "dfa",
    "drtp": "drtp",
    "kp": "kp",
    "dkp": "dkp",
    "bp_dense": "bp:frozen=conv*|norm1*|norm2*",
}
"""Case -> wiring."""


def cases(accuracies: Mapping[str, float], model: str, data: str) -> tuple[Case, ...]:
    """A row for each published accuracy, in %."""
    return tuple(case(name, model, data, accuracy) for name, accuracy in accuracies.items())


def case(name: str, model: str, data: str, accuracy: float | None = None) -> Case:
    """The row ``name`` with the paper's optimisers; ``accuracy``: published, in %."""
    return Case(
        name=name,
        wiring=ROWS[name],
        model=model,
        data=data,
        optimizer="sgd:lr=1e-2,momentum=0.9,nesterov=true,weight_decay=1e-6",
        error_optimizer="sgd:lr=1e-4,momentum=0.9,nesterov=true,weight_decay=1e-6" if name == "dkp" else None,
        error_schedule="step:every=1,factor=0.85" if name == "dkp" else None,
        batch_size=50,
        epochs=100,
        published={} if accuracy is None else {"test_error": round(100 - accuracy, 2)},
    )
