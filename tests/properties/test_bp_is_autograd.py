"""Backpropagation as a wiring is autograd, on any graph of layers: loss, output, buffers and every gradient."""

import torch
import torch.nn.functional as F
from drawing import Network, dags
from hypothesis import given
from pool import pooled
from programs import learner_of
from updates import apart, gradients

from wiring import bp

TOLERANCE = 1e-12


@given(pooled(dags(dropout=True), each=20))
def test_bp_is_autograd(network: Network) -> None:
    learner, twin, (x, y) = learner_of(network, bp()), network.model(), network.data()
    model = learner.model
    torch.manual_seed(1)
    learned = learner.learn(x, y)
    torch.manual_seed(1)
    output = twin(x)
    loss = F.cross_entropy(output, y)
    loss.backward()
    torch.testing.assert_close(learned.loss, loss, rtol=TOLERANCE, atol=TOLERANCE)
    torch.testing.assert_close(learned.output, output, rtol=TOLERANCE, atol=TOLERANCE)
    for (name, buffer), oracle in zip(model.named_buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(buffer, oracle, rtol=TOLERANCE, atol=TOLERANCE, msg=lambda text, name=name: f"{name}: {text}")
    assert apart(gradients(model), gradients(twin)) <= TOLERANCE
