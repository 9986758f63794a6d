"""rec-LRA with signum units: one thing of the row in table 1 changed at a time (Ororbia, Mali, Kifer, Giles 2023)."""

from runtime.reproduce.study import Case, Curves, Study


def _wiring(topology: str = "depth=1", beta: float = 1, std: float = 0.05) -> str:
    return f"rec_lra:{topology},beta={beta:g},synapse.vectors.init.kind=normal,synapse.vectors.init.std={std:g}"


ROW = (_wiring(), "adam:lr=2e-5")
ROWS = {
    "row": ROW,
    "gap1": (_wiring("gap=1"), ROW[1]),
    "gap2": (_wiring("gap=2"), ROW[1]),
    "gap3": (_wiring("gap=3"), ROW[1]),
    "beta0.1": (_wiring(beta=0.1), ROW[1]),
    "beta10": (_wiring(beta=10), ROW[1]),
    "std0.01": (_wiring(std=0.01), ROW[1]),
    "std0.2": (_wiring(std=0.2), ROW[1]),
    "fixed_E": (f"{_wiring()},plasticity.kind=fixed", None),
    "rate_E2e-4": (_wiring(), "adam:lr=2e-4"),
    "rate_E2e-4_decay0.1": (_wiring(), "adamw:lr=2e-4,weight_decay=0.1"),
    "rate_E2e-4_decay10": (_wiring(), "adamw:lr=2e-4,weight_decay=10"),
    "gap2_rate_E2e-4": (_wiring("gap=2"), "adam:lr=2e-4"),
    "dfa_straight_through": (
        "dfa:credit.surrogate=straight_through,synapse.init.kind=normal,synapse.init.std=0.05,reprojection=1",
        None,
    ),
}

STUDY = Study(
    name="rec_lra_signum",
    title="rec-LRA: what signum units need",
    paper="an ablation of the row of Ororbia, Mali, Kifer and Giles (2023), table 1, whose error is 2.33 % after up to 500 epochs",
    text=(
        "`row` is `mnist-rec_lra_sign` of the table of MLPs: every site hears the output (depth 1), beta 1, error synapses from a "
        "Gaussian of deviation 0.05 that learn at a tenth of the rate. Every other case changes what its name says: the wiring, beta, the "
        "scale of E at the start, the rate of E and its decay a step in units of the rate (decoupled, as AdamW has it), or no plasticity at all. "
        "The last one is DFA with a straight-through derivative, which has no targets. In the runs below the wiring decides: where a site hears "
        "a signum neighbour the network stays near chance, whatever the rate of E. Then come beta, whose 1 is better than a tenth and ten of it, and "
        "the scale of E; E that stands still is nearly as good as E that learns slowly, and E that learns at the full rate is worse."
    ),
    cases=tuple(
        Case(
            name=name,
            wiring=wiring,
            model="rec_lra_mlp:activation=sign",
            data="mnist",
            init="normal:std=0.05",
            optimizer="adam:lr=2e-4",
            error_optimizer=error_optimizer,
            batch_size=32,
            epochs=50,
        )
        for name, (wiring, error_optimizer) in ROWS.items()
    ),
    figures=(Curves("errors", "test error", "test_error", "*", log=True),),
)
