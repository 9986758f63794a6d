"""Kolen-Pollack: under equal rates and equal decay weight and mirror approach each other by ``1 - rate * decay`` a step (SGD)."""

import torch
from drawing import Network, chains, dags
from hypothesis import given
from hypothesis import strategies as st
from pool import pooled
from programs import learner_of
from updates import apart, step, step_of_synapses

from runtime import Learner
from wiring import Wiring, dkp, kp, mix

STEPS = 4
RATES = st.floats(1e-3, 0.5)
DECAYS = st.floats(0.0, 1.0)
CHAINS = pooled(chains(), chains(maps=True), each=8)


def descend(learner: Learner, rate: float, decay: float) -> torch.optim.SGD:
    return torch.optim.SGD(learner.parameters(), lr=rate, weight_decay=decay)


def gaps(learner: Learner) -> dict[str, float]:
    """``||W - B||`` of every mirror."""
    synapses = learner.error_synapses().items()
    return {name: (learner.model.get_parameter(name.removeprefix("mirror:")) - mirror).norm().item() for name, mirror in synapses}


@given(network=pooled(dags(), each=16), rate=RATES, decay=DECAYS)
def test_every_mirror_of_kp_contracts_to_its_weight(network: Network, rate: float, decay: float) -> None:
    x, y = network.data()
    learner = learner_of(network, kp())
    optimizer = descend(learner, rate, decay)
    for _ in range(STEPS):
        before = gaps(learner)
        step(learner, x, y)
        optimizer.step()
        for name, gap in gaps(learner).items():
            assert abs(gap - (1 - rate * decay) * before[name]) <= 1e-9 * before[name], name


def twins(network: Network, direct: Wiring) -> tuple[Learner, Learner, str]:
    """The network under ``kp`` and under ``direct``, whose last site's own feedback starts as KP's mirror of the output's weights."""
    last = f"output->v{len(network.lines)}"
    mirrored, other = (learner_of(network, wiring) for wiring in (kp(), direct))
    feedback = other.error_synapses()[last]
    with torch.no_grad():
        feedback.copy_(mirrored.error_synapses()["mirror:head.weight"].reshape(feedback.shape))
    return mirrored, other, last


@given(network=CHAINS)
def test_dkp_at_the_last_hidden_layer_is_kp(network: Network) -> None:
    """The same updates of the layer, of its feedback and of the output, whatever lies in front."""
    mirrored, direct, last = twins(network, dkp())
    want, got = step(mirrored, *network.data()), step(direct, *network.data())
    shared = [name for name in want if name.split(".")[0] in ("head", f"v{len(network.lines) - 1}")]
    assert apart({name: got[name] for name in shared}, {name: want[name] for name in shared}) <= 1e-12
    taught = step_of_synapses(direct)[last].reshape(want["head.weight"].shape)
    assert apart({"head.weight": taught}, {"head.weight": want["head.weight"]}) <= 1e-12


@given(network=CHAINS, rate=RATES, decay=DECAYS)
def test_dkp_at_the_last_hidden_layer_stays_kp_while_both_learn(network: Network, rate: float, decay: float) -> None:
    """DKP at the last hidden layer and KP before it take the very steps of KP, and its feedback contracts to the output's weights."""
    last = f"v{len(network.lines)}"
    mirrored, direct, name = twins(network, mix({last: dkp(), "output": dkp(), "*": kp()}))
    optimizers = [descend(learner, rate, decay) for learner in (mirrored, direct)]
    weights, feedback = direct.model.get_parameter("head.weight"), direct.error_synapses()[name]
    for _ in range(STEPS):
        want, got = (step(learner, *network.data()) for learner in (mirrored, direct))
        assert apart(got, want) <= 1e-10
        before = (weights - feedback.reshape(weights.shape)).norm().item()
        for optimizer in optimizers:
            optimizer.step()
        gap = (weights - feedback.reshape(weights.shape)).norm().item()
        assert abs(gap - (1 - rate * decay) * before) <= 1e-9 * before
