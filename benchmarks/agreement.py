"""Correctness first: executors on a GPU against ``serial``, before anything is timed."""

import copy
from collections.abc import Callable

import torch
from contenders import Batch
from torch import Tensor, nn

from compiler import UpdateProgram, compile
from runtime import Learner
from wiring import dfa


def difference(own: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """The largest difference of any tensor, relative to the largest number in the other; infinite where one is not finite."""
    worst = 0.0
    for name, value in other.items():
        a, b = own[name].double(), value.double()
        scale = b.abs().max().item() if b.numel() else 0.0
        gap = (a - b).abs().max().item() if b.numel() else 0.0
        if not torch.isfinite(a).all() or not torch.isfinite(b).all():
            return float("inf")
        worst = max(worst, gap / scale if scale > 1e-8 else gap)
    return worst


def learned(program: UpdateProgram, batch: Batch, executor: str, streams: int | None) -> dict[str, Tensor]:
    """Loss, gradients and buffers behind two steps on the same batch, without an optimiser and with gradients cleared between."""
    learner = Learner(copy.deepcopy(program), backend=executor, streams=streams, checks=False)
    found: dict[str, Tensor] = {}
    for _ in range(2):
        learner.zero_grad(set_to_none=True)
        result = learner.learn(batch.x, batch.y)
        found = {name: p.grad.clone() for name, p in learner.named_parameters() if p.grad is not None}
        found |= {name: b.clone() for name, b in learner.named_buffers() if b.is_floating_point()}
        found["loss"] = result.loss.clone()
    return found


def against_serial(program: UpdateProgram, batch: Batch, executor: str, streams: int | None) -> float:
    """The largest relative difference of an executor's numbers from ``serial``'s."""
    return difference(learned(program, batch, executor, streams), learned(program, batch, "serial", None))


def dropout(device: torch.device, executor: str) -> dict[str, bool]:
    """Dropout draws anew at each step, and the same again from the same seed."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Dropout(0.5), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 10)).to(device)
    x, y = torch.randn(32, 64, device=device), torch.randint(0, 10, (32,), device=device)
    learner = Learner(compile(model, dfa(), (x, y)), backend=executor)
    losses = []
    for _ in range(2):
        torch.manual_seed(1)
        losses.append([learner.learn(x, y).loss.item() for _ in range(3)])
    return {"differs from step to step": len(set(losses[0])) == 3, "reproducible from a seed": losses[0] == losses[1]}


OPTIMISERS: dict[str, Callable[[Learner], torch.optim.Optimizer]] = {
    "SGD with momentum": lambda learner: torch.optim.SGD(learner.parameters(), lr=0.05, momentum=0.9),
    "Adam": lambda learner: torch.optim.Adam(learner.parameters(), lr=1e-3, capturable=next(learner.parameters()).is_cuda),
}


def included(program: UpdateProgram, batch: Batch, executor: str, optimiser: str, steps: int = 5) -> float:
    """The largest relative difference of the state behind some steps with the optimiser included from steps taken separately."""
    states = []
    for include in (False, True):
        learner = Learner(copy.deepcopy(program), backend=executor if include else "serial", checks=False)
        optimizer = OPTIMISERS[optimiser](learner)
        if include:
            learner.include(optimizer)
        for _ in range(steps):
            learner.learn(batch.x, batch.y)
            if not include:
                optimizer.step()
                optimizer.zero_grad()
        states.append({name: value.clone() for name, value in learner.state_dict().items()})
    return difference(states[1], states[0])
