"""What DRTP's studies share (Frenkel, Lefebvre, Bol 2021; released code): the algorithms, in the scale of their hidden updates."""


def wirings(kappa: int) -> dict[str, str]:
    """Hidden updates of DFA, sDFA and DRTP are sums over the batch; ``kappa`` undoes what the loss's mean over outputs divides by."""
    return {
        "bp": "bp",
        "fa": "fa",
        "dfa": f"dfa:reduction=sum,kappa={kappa}",
        "sdfa": "sdfa:reduction=sum",
        "drtp": "drtp:reduction=sum",
        "shallow": "shallow",
    }
