"""An attached model is a module like others: moved, frozen, recomputed, looked into; what cannot work says why."""

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from attach_case import attached, batch, grads, plain, same, step
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import wiring
from compiler import CompileError, CreditError, compile
from runtime import TrainingError, attach


def pair(normed: bool = False) -> tuple[nn.Module, nn.Module]:
    """Attached under backpropagation, and the plain model that autograd must agree with."""
    own = attached("bp", normed)
    return own, copy.deepcopy(own.model)


def test_one_backward_pass_of_a_sum_over_two_forward_passes() -> None:
    own, twin = pair(normed=True)
    x, y = batch()
    for model in (own, twin):
        torch.manual_seed(1)
        (F.cross_entropy(model(x), y) + F.cross_entropy(model(2 * x), y)).backward()
    same(grads(own.model), grads(twin))
    same(dict(own.model.named_buffers()), dict(twin.named_buffers()))


def test_gradients_of_some_parameters_are_returned() -> None:
    own, twin = pair()
    x, y = batch()
    found = [torch.autograd.grad(F.cross_entropy(model(x), y), list(model.parameters())[:2]) for model in (own, twin)]
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    F.cross_entropy(own(x), y).backward(inputs=[own.model[2].weight])
    assert list(grads(own.model)) == ["2.weight"]


def test_hooks_on_parameters_and_on_the_whole() -> None:
    own, twin = pair()
    seen: list[str] = []
    for model in (own.model, twin):
        for name, parameter in model.named_parameters():
            parameter.register_hook(lambda gradient: 2 * gradient)
            parameter.register_post_accumulate_grad_hook(lambda _, name=name: seen.append(name))
        step(own if model is own.model else twin, *batch())
    assert len(seen) == 12
    same(grads(own.model), grads(twin))
    own.register_forward_hook(lambda *_: seen.append("forward"))
    own.register_full_backward_hook(lambda *_: seen.append("backward"))
    step(own, *batch())
    assert {"forward", "backward"} <= set(seen)


@pytest.mark.parametrize("preset", ["bp", "dfa"])
def test_recomputed_under_gradient_checkpointing(preset: str) -> None:
    own, want = attached(preset), attached(preset)
    x, y = batch()
    torch.manual_seed(1)
    F.cross_entropy(checkpoint(own, x, use_reentrant=False), y).backward()
    step(want, x, y)
    same(grads(own), grads(want))


@pytest.mark.parametrize("how", [{"foreach": True}, {"fused": True}, {"foreach": False}], ids=str)
def test_optimisers_clipping_and_gradients_that_stay(how: dict[str, bool]) -> None:
    own, twin = pair()
    for model in (own, twin):
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, **how)
        for _ in range(3):
            optimizer.zero_grad(set_to_none=False)
            step(model, *batch())
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()
    same(dict(own.model.named_parameters()), dict(twin.named_parameters()))


def test_autocast_may_be_switched_between_steps() -> None:
    own, twin = pair()
    x, y = batch()
    for on in (True, False, True):
        for model in (own, twin):
            model.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=on):
                loss = F.cross_entropy(model(x), y)
            loss.backward()
        same(grads(own.model), grads(twin))


def test_moved_to_another_dtype_it_is_compiled_for_that() -> None:
    own, (x, y) = attached("bp", normed=False).double(), batch()
    twin = copy.deepcopy(own.model)
    for model in (own, twin):
        step(model, x.double(), y)
    same(grads(own.model), grads(twin))


def test_wholly_frozen_it_infers() -> None:
    own, (x, _) = attached("dkp", normed=False), batch()
    own.model.requires_grad_(False)
    output = own(x)
    assert not output.requires_grad
    assert torch.equal(output, own.model(x))


def test_a_step_after_one_that_failed_half_way() -> None:
    own, twin = pair(normed=True)
    x, y = batch()
    for model in (own, twin):
        with pytest.raises(IndexError):
            F.cross_entropy(model(x), y + 3).backward()
        step(model, x, y)
    same(grads(own.model), grads(twin))
    same(dict(own.model.named_buffers()), dict(twin.named_buffers()))


def test_tracing_and_exporting_give_the_plain_model() -> None:
    own, x = attached("dfa", normed=False), batch()[0]
    for taken in (torch.jit.trace(own, x), torch.export.export(own, (x,)).module()):
        assert torch.equal(taken(x), own.model(x))


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.__setitem__(0, nn.Linear(6, 8)),
        lambda model: model.append(nn.ReLU()),
        lambda model: model[0].register_forward_hook(lambda *_: None),
        lambda model: nn.utils.parametrizations.weight_norm(model[0]),
    ],
    ids=["replaced", "appended", "hooked", "reparametrised"],
)
def test_a_model_that_is_another_since_is_refused(change: Any) -> None:
    own, x = attached("dfa", normed=False), batch()[0]
    change(own.model)
    with pytest.raises(TrainingError, match=r"come or gone since.*ttach"):
        own(x)
    with torch.no_grad():
        own(x)


def test_hooks_that_were_there_before_stay_in_the_step() -> None:
    model, (x, y) = plain(), batch()
    model[0].register_forward_hook(lambda _, inputs, output: 2 * output)
    twin = copy.deepcopy(model)
    own = attach(model, wiring.bp(), x)
    for each in (own, twin):
        step(each, x, y)
    same(grads(own.model), grads(twin))


def test_copies_for_data_parallel_and_mapped_backward_passes_are_refused() -> None:
    own, x = attached("dfa", normed=False), batch()[0]
    with pytest.raises(TrainingError, match=r"nn\.DataParallel.*DistributedDataParallel"):
        own._replicate_for_data_parallel()
    output = own(x)
    several = torch.ones(2, *output.shape)
    with pytest.raises(TrainingError, match="is_grads_batched=True"):
        torch.autograd.grad(output, [own.model[0].weight], several, is_grads_batched=True)


class Unheard(nn.Module):
    """Has a parameter that the output reads, but that no error comes back to."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.spare = nn.Linear(6, 8), nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = torch.tanh(self.body(x))[:, :3] + self.spare.detach()
        return logits


def test_what_cannot_be_compiled_is_refused_at_once() -> None:
    x, y = batch()
    seen: list[type[CompileError]] = []
    for make in (lambda: compile(Unheard(), wiring.dfa(), (x, y)), lambda: attach(Unheard(), wiring.dfa(), x)):
        with pytest.raises(CreditError, match="spare") as caught:
            make()
        seen.append(caught.type)
    assert seen[0] is seen[1]


def test_what_attach_never_runs_is_traced_when_it_is_asked_for() -> None:
    own = attach(plain(), wiring.dfa(), batch()[0])
    step(own, *batch())
    assert not own.program._steps
    assert own.program.lowered.layout.gradients
    assert compile(plain(), wiring.dfa(), batch())._steps
