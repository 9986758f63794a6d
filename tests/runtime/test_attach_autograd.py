"""An attached model inside autograd: modes, copies, several passes, what is refused."""

import copy
import multiprocessing
import pickle
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from attach_case import attached, batch, grads, same, small, step
from torch import Tensor, nn

import wiring
from compiler import compile
from runtime import Learner, TrainingError, attach


def test_eval_uses_running_statistics_with_and_without_gradients() -> None:
    own = attached("bp").eval()
    twin = copy.deepcopy(own.model)
    output = step(own, *batch())
    assert torch.equal(output, step(twin, *batch()))
    same(grads(own.model), grads(twin))
    assert all(torch.equal(a, b) for a, b in zip(own.buffers(), twin.buffers(), strict=True))
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert torch.equal(own(batch()[0]), output)
            assert not own(batch()[0]).requires_grad


def test_frozen_parameters_get_no_gradient_and_may_thaw() -> None:
    own = attached("dfa")
    own.model[0].requires_grad_(False)
    step(own, *batch())
    assert {name for name, p in own.model.named_parameters() if p.grad is None} == {"0.weight", "0.bias"}
    own.model[0].requires_grad_(True)
    step(own, *batch())
    assert all(p.grad is not None for p in own.model.parameters())


def test_state_and_copies_go_on_alike() -> None:
    own, other = attached("dkp"), attach(small(), wiring.dkp(), batch()[0], seed=7)
    other.load_state_dict(own.state_dict())
    twins = [other, copy.deepcopy(own), pickle.loads(pickle.dumps(own))]
    output = step(own, *batch())
    for twin in twins:
        assert torch.equal(step(twin, *batch()), output)
        same(grads(twin), grads(own))
    assert twins[2].program.model is twins[2].model


def learned(learner: Learner, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    torch.manual_seed(1)
    learner.learn(x, y)
    return grads(learner)


def test_a_learner_goes_to_another_process() -> None:
    learner = Learner(compile(small(), wiring.dkp(), batch()))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply(_in_another_process, (learner,))
    same({name: torch.tensor(value) for name, value in found.items()}, learned(learner, *batch()))


def _in_another_process(learner: Learner) -> dict[str, Any]:
    return {name: value.tolist() for name, value in learned(learner, *batch()).items()}


def test_two_forward_passes_before_their_backward_passes() -> None:
    own = attached("dkp", normed=False)
    want = copy.deepcopy(own)
    for size in (8, 5):
        step(want, *batch(size))
    losses = [F.cross_entropy(own(batch(size)[0]), batch(size)[1]) for size in (8, 5)]
    for loss in losses:
        loss.backward()
    same(grads(own), grads(want))


def test_backward_twice_needs_retain_graph_and_then_adds_up() -> None:
    own, (x, y) = attached("rec_lra", normed=False), batch()
    step(own, x, y)
    once = grads(own)
    own.zero_grad()
    loss = F.cross_entropy(own(x), y)
    loss.backward(retain_graph=True)
    same(grads(own), once)
    loss.backward()
    same(grads(own), {name: 2 * value for name, value in once.items()})
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        loss.backward()


def test_an_optimiser_step_in_between_is_an_error() -> None:
    own, (x, y) = attached("bp", normed=False), batch()
    step(own, x, y)
    loss = F.cross_entropy(own(x), y)
    torch.optim.SGD(own.parameters(), lr=0.1).step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_the_output_may_be_changed_in_place() -> None:
    (x, _), model = batch(), nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1), nn.Sigmoid(), nn.Flatten(0))
    twin, own = copy.deepcopy(model), attach(model, wiring.bp(), x)
    output = own(x)
    output *= 2
    output.sum().backward()
    (2 * twin(x)).sum().backward()
    same(grads(own.model), grads(twin))


def test_second_derivatives_are_refused() -> None:
    own, (x, y) = attached("dfa", normed=False), batch()
    with pytest.raises(TrainingError, match=r"create_graph=True.*is not the derivative of the loss"):
        F.cross_entropy(own(x), y).backward(create_graph=True)
    with pytest.raises(TrainingError, match=r"torch\.func.*no derivative.*attached\.model"):
        torch.func.grad(lambda p: torch.func.functional_call(own, p, x).sum())(dict(own.named_parameters()))
    with pytest.raises(TrainingError, match=r"torch\.func"):
        torch.vmap(own)(x[:, None])


def test_inputs_that_want_a_gradient_are_refused() -> None:
    with pytest.raises(TrainingError, match=r"sends none to inputs\. Detach it"):
        attached("dfa")(batch()[0].requires_grad_())


def test_a_larger_loss() -> None:
    """An ordinary head on the attached body, a term over the parameters, and the output read twice."""
    own, (x, y) = attached("bp", normed=False), batch()
    twin, head = copy.deepcopy(own.model), nn.Linear(3, 3)
    for model in (own, twin):
        output = model(x)
        loss = F.cross_entropy(head(torch.tanh(output)), y) + 0.1 * output.square().mean()
        (loss + 0.01 * sum(p.square().sum() for p in model.parameters())).backward()
    same(grads(own.model), grads(twin))


def test_a_term_over_the_parameters_adds_to_a_wirings_update() -> None:
    own, (x, y) = attached("dkp", normed=False), batch()
    step(own, x, y)
    want = {name: value + 0.02 * own.get_parameter(name).detach() for name, value in grads(own).items()}
    own.zero_grad()
    learning = [p for p in own.parameters() if p.requires_grad]
    (F.cross_entropy(own(x), y) + 0.01 * sum(p.square().sum() for p in learning)).backward()
    same(grads(own), want, rtol=1e-6, atol=1e-7)


def test_functional_call_and_torch_compile_around_it() -> None:
    own, (x, y) = attached("dkp", normed=False), batch()
    step(own, x, y)
    moved = {name: p.detach().clone().requires_grad_(p.requires_grad) for name, p in own.named_parameters()}
    F.cross_entropy(torch.func.functional_call(own, moved, x), y).backward()
    same({name: p.grad for name, p in moved.items() if p.grad is not None}, grads(own))
    want = grads(own)
    own.zero_grad()
    step(torch.compile(own, backend="eager"), x, y)
    same(grads(own), want)


def test_only_what_the_backward_half_reads_is_kept() -> None:
    """A chain of 12: under ``bp`` as much as eager autograd keeps, under ``shallow`` what the last layer reads."""
    torch.manual_seed(0)
    depth, width, size = 12, 16, 64
    layers = [layer for _ in range(depth) for layer in (nn.Linear(width, width), nn.Tanh())]
    model, x = nn.Sequential(*layers, nn.Linear(width, 3)), torch.randn(size, width)
    kept = {name: _kept(attach(copy.deepcopy(model), wiring.PRESETS[name](), x), x) for name in ("bp", "dfa", "drtp", "shallow")}
    activation = 4 * size * width
    assert kept["bp"] == _kept(model, x) == depth * activation
    assert kept["dfa"] == kept["bp"]  # each hidden layer's update reads its input and its own derivative
    assert kept["drtp"] == kept["bp"] + 4 * size * 3  # and the output, from which targets are told
    assert kept["shallow"] == activation


def test_of_a_normalisation_the_statistics_of_the_batch_are_kept_and_no_running_ones() -> None:
    """What lies in front of it and behind Tanh; mean and 1 / std."""
    width, size = 16, 64
    x = torch.randn(size, width)
    model = nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width), nn.Tanh(), nn.Linear(width, 3))
    activation, statistic = 4 * size * width, 4 * width
    assert _kept(attach(model, wiring.bp(), x), x) == 2 * activation + 2 * statistic


def _kept(model: nn.Module, x: Tensor) -> int:
    """Bytes of distinct storages that a forward pass keeps for its backward pass, parameters and inputs apart."""
    own = {value.untyped_storage().data_ptr() for value in (*model.parameters(), x)}
    model(x)  # compiles
    seen: dict[int, int] = {}

    def pack(value: Tensor) -> Tensor:
        seen[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        output = model(x)
    F.cross_entropy(output, torch.zeros(len(x), dtype=torch.long)).backward()
    return sum(size for place, size in seen.items() if place not in own)
