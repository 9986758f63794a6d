"""Tasks of real programs: what belongs together, what must wait, what works in place, and that any valid order computes the same."""

import inspect
import random
import warnings

import pytest
import torch
from architectures import CASES
from torch import Tensor, nn

import compiler.lower
from compiler import ScheduleError, UpdateProgram, compile, verify
from compiler.effects import INPUTS, effects, is_view, picks
from compiler.planning import scheduled
from compiler.schedule import Launch, Schedule, Wait
from compiler.split import BACKWARD
from compiler.taskgraph import RANDOM
from compiler.tasks import task_graph
from runtime import Learner
from runtime.executors.serial import Serial
from runtime.executors.threads import Threads
from wiring import parse_wiring

WIRINGS = ["bp", "fa", "kp", "sign_symmetry", "dfa", "sdfa", "dkp", "drtp", "lra_e", "rec_lra", "ekdaa"]


def net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3),
        nn.Conv2d(4, 4, 3, padding=1), nn.Tanh(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 16), nn.Tanh(), nn.Linear(16, 10),
    )  # fmt: skip


def program(wiring: str, model: nn.Module | None = None) -> UpdateProgram:
    torch.manual_seed(0)
    with warnings.catch_warnings(action="ignore"):
        return compile(model or net(), parse_wiring(wiring), (torch.randn(6, 2, 6, 6), torch.arange(6)))


def results(program: UpdateProgram, schedule: Schedule | None = None) -> list[Tensor]:
    learner = Learner(program)
    generator = torch.Generator().manual_seed(3)
    lowered, x = program.lowered, torch.randn(6, 2, 6, 6, generator=generator)
    torch.manual_seed(4)
    return Serial().prepare(lowered, schedule)(learner._inputs(lowered, x, torch.arange(6)))


def equal(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("wiring", WIRINGS)
def test_every_operator_is_in_one_task_and_tasks_come_behind_what_they_read(wiring: str) -> None:
    lowered = program(wiring).lowered
    operators = [node for node in lowered.module.graph.nodes if node.op not in (*INPUTS, "output")]
    for small in (0.0, 20e-6, 1.0):
        graph = task_graph(lowered.module.graph, small)
        placed = [node for task in graph.tasks for node in task.nodes]
        assert sorted(placed, key=str) == sorted(operators, key=str)
        place = {node: number for number, task in enumerate(graph.tasks) for node in task.nodes}
        assert all(place[source] <= place[node] for node in placed for source in node.all_input_nodes if source in place)
        assert len({task.name for task in graph.tasks}) == len(graph.tasks)


@pytest.mark.parametrize("wiring", WIRINGS)
def test_any_order_that_respects_the_dependences_computes_the_same_numbers(wiring: str) -> None:
    compiled = program(wiring)
    compiled.lowered.__dict__["tasks"] = graph = task_graph(compiled.lowered.module.graph, small=0.0)
    wanted, draw = results(compiled), random.Random(0)
    for _ in range(5):
        left, done, order = [task.name for task in graph.tasks], set(), []
        while left:
            name = draw.choice([name for name in left if done.issuperset(graph.dependences[name])])
            left.remove(name)
            done.add(name)
            order.append(name)
        assert order != [task.name for task in graph.tasks]
        assert equal(wanted, results(compiled, Schedule(1, tuple(Launch(name, 0) for name in order))))


def test_under_backpropagation_no_credit_waits_for_an_update() -> None:
    graph = task_graph(program("bp").lowered.module.graph, small=0.0)
    waited_for = {
        source
        for task in graph.tasks
        for source in graph.dependences[task.name]
        if not task.name.startswith(("gradient:", "plasticity:"))
    }
    updates = {task.name for task in graph.tasks if task.name.startswith("update:")}
    assert updates
    assert not updates & waited_for
    assert any(task.name.startswith("transmit:") for task in graph.tasks)


def test_drtp_updates_wait_for_no_loss() -> None:
    graph = task_graph(program("drtp").lowered.module.graph, small=0.0)
    before: dict[str, set[str]] = {}
    for task in graph.tasks:
        before[task.name] = {name for source in graph.dependences[task.name] for name in (source, *before[source])}
    hidden = [name for name in before if name.startswith("update:") and name != "update:output"]
    assert len(hidden) == 3
    assert not any("loss" in before[name] for name in hidden)


@pytest.mark.parametrize("wiring", WIRINGS)
@pytest.mark.parametrize("skipped", ["split_backward", "reuse_memory"])
def test_splitting_and_working_in_place_change_no_number(monkeypatch: pytest.MonkeyPatch, wiring: str, skipped: str) -> None:
    wanted = results(program(wiring))
    monkeypatch.setattr(compiler.lower, skipped, lambda graph: None)
    plain = program(wiring)
    assert equal(wanted, results(plain))


def test_convolutions_backward_pass_is_split_and_elementwise_operators_work_in_place() -> None:
    nodes = list(program("bp").lowered.module.graph.nodes)
    masks = [node.args[10] for node in nodes if node.target is BACKWARD]
    assert [True, False, False] in masks
    assert all(not (mask[0] and any(mask[1:])) for mask in masks)
    names = [str(node.target) for node in nodes]
    assert "aten.relu_.default" in names
    assert "aten.threshold_backward.grad_input" in names


def test_nothing_that_lives_on_is_overwritten() -> None:
    for wiring in WIRINGS:
        graph = program(wiring).lowered.module.graph
        found = effects(graph)
        inputs = {name for node in graph.nodes if node.op in INPUTS for name in found.storages[node]}
        for effect in found.of.values():
            assert not (effect.writes - effect.makes) & inputs


def test_random_operators_keep_their_order() -> None:
    lowered = program("bp").lowered
    drawing = [task.name for task in lowered.tasks.tasks if RANDOM in task.writes]
    assert drawing
    model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Dropout(), nn.Linear(8, 8), nn.Tanh(), nn.Dropout(), nn.Linear(8, 10))
    twice = compile(model, parse_wiring("dfa"), (torch.randn(4, 8), torch.arange(4))).lowered
    tasks = task_graph(twice.module.graph, small=0.0)
    first, second = [task.name for task in tasks.tasks if RANDOM in task.writes]
    assert first in tasks.dependences[second]


def test_a_view_shares_its_storage_and_is_a_value_of_its_own() -> None:
    graph = program("dfa").lowered.module.graph
    found = effects(graph)
    views = [node for node in graph.nodes if node.op == "call_function" and not picks(node) and is_view(node)]
    assert views
    for view in views:
        (source, *_) = view.all_input_nodes
        assert found.storages[view] == found.storages[source]
        assert view.name in found.views
        assert view.name in found.kept


def test_the_tasks_and_the_schedule_of_a_small_net() -> None:
    compiled = program("drtp", nn.Sequential(nn.Flatten(), nn.Linear(72, 8), nn.Tanh(), nn.Linear(8, 10)))
    lowered = compiled.lowered
    lowered.__dict__["tasks"] = task_graph(lowered.module.graph, small=0.0)
    assert str(compiled.schedule(1)) == inspect.cleandoc(
        """
        schedule on 1 stream
        0 launch forward:rest
        0 launch forward:2
        0 launch signal
        0 free arange
        0 free eq
        0 launch transmit:output->2
        0 free _to_copy
        0 launch credit:2
        0 launch update:2
        0 free mm
        0 launch forward:output
        0 launch loss
        0 free _log_softmax
        0 free nll_loss_backward
        0 free nll_loss_forward.1
        0 free ones_like
        0 launch update:output
        0 free _log_softmax_backward_data
        0 free addmm
        0 launch discrepancy
        """
    )


@pytest.mark.parametrize("name", sorted(CASES)[::4])
@pytest.mark.parametrize("wiring", ["bp", "rec_lra"])
def test_schedules_of_all_sorts_of_models_are_proven_and_compute_the_same(name: str, wiring: str) -> None:
    case = CASES[name]
    torch.manual_seed(0)
    with warnings.catch_warnings(action="ignore"):
        compiled = compile(case.build(), parse_wiring(wiring), (case.inputs(), case.labels()), case.loss)
    learner, lowered = Learner(compiled), compiled.lowered
    inputs = learner._inputs(lowered, case.inputs(), case.labels())
    torch.manual_seed(1)
    with torch.no_grad():
        wanted = lowered.module(*inputs)
    for streams in (1, 2, 5):
        schedule = scheduled(lowered, streams)
        verify(compiled, schedule)
        assert Schedule.parse(str(schedule)) == schedule
        for whole in (Serial(), Threads(streams)):
            torch.manual_seed(1)
            assert equal(wanted, whole.prepare(lowered, schedule)(inputs))
        waits = [action for action in schedule.actions if isinstance(action, Wait)]
        for wait in waits[:: max(1, len(waits) // 5)]:
            with pytest.raises(ScheduleError):
                verify(compiled, Schedule(streams, tuple(a for a in schedule.actions if a is not wait)))


class Odd(nn.Module):
    """A function of a hidden layer's activities, between two linear layers."""

    def __init__(self, middle, **parameters: Tensor) -> None:
        super().__init__()
        self.first, self.last, self.middle = nn.Linear(8, 8), nn.Linear(8, 4), middle
        for name, value in parameters.items():
            setattr(self, name, nn.Parameter(value))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(self.middle(self, torch.tanh(self.first(x))))
        return logits


@pytest.mark.parametrize(
    "middle",
    [
        lambda m, h: (m.square.permute(-1, 0) @ h.t()).t(),
        lambda m, h: (h @ m.square).view(-1, 2, 2, 2).permute(-4, -1, 1, 2).reshape(-1, 8),
        lambda m, h: h * m.square.sum(dim=None, keepdim=True).view(1),
    ],
    ids=["transposed by negative axes", "permuted by negative axes", "a sum over all axes"],
)
def test_a_simplified_step_still_computes_what_the_model_says(middle) -> None:
    torch.manual_seed(0)
    model, x, y = Odd(middle, square=torch.randn(8, 8)), torch.randn(6, 8), torch.arange(6) % 4
    loss = nn.functional.cross_entropy(model(x), y)
    wanted = torch.autograd.grad(loss, list(model.parameters()))
    learned = Learner(compile(model, parse_wiring("bp"), (x, y))).learn(x, y)
    torch.testing.assert_close(learned.loss, loss.detach())
    for parameter, gradient in zip(model.parameters(), wanted, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


@pytest.mark.parametrize("backend", ["serial", "threads"])
def test_parameters_with_the_same_update_do_not_share_its_memory(backend: str) -> None:
    torch.manual_seed(0)
    shapes = {"p": (8, 8), "q": (8, 8), "r": (1, 8, 8)}
    model = Odd(lambda m, h: h @ (m.p + m.q + m.r)[0], **{name: torch.randn(shape) for name, shape in shapes.items()})
    x, y = torch.randn(6, 8), torch.arange(6) % 4
    learner = Learner(compile(model, parse_wiring("bp"), (x, y)), backend=backend)
    learner.learn(x, y)
    once = [parameter.grad.clone() for parameter in model.parameters()]
    learner.learn(x, y)
    for parameter, gradient in zip(model.parameters(), once, strict=True):
        torch.testing.assert_close(parameter.grad, 2 * gradient)


def test_buffers_that_change_places_keep_their_values() -> None:
    class Swaps(Odd):
        def forward(self, x: Tensor) -> Tensor:
            held = self.b.clone()
            self.b.copy_(self.a)
            self.a.copy_(held)
            return super().forward(x)

    model = Swaps(lambda m, h: h + m.a)
    model.register_buffer("a", torch.ones(8))
    model.register_buffer("b", torch.zeros(8))
    x, y = torch.randn(6, 8), torch.arange(6) % 4
    learner = Learner(compile(model, parse_wiring("bp"), (x, y)))
    for swapped in (True, False):
        learner.learn(x, y)
        assert torch.equal(model.a, torch.zeros(8) if swapped else torch.ones(8))
        assert torch.equal(model.b, torch.ones(8) if swapped else torch.zeros(8))


@pytest.mark.parametrize("parts", [4, 8])
def test_pieces_of_a_value_made_in_place_lie_in_its_memory(parts: int) -> None:
    model = Odd(lambda m, h: torch.cat([part * (1 + place) for place, part in enumerate(h.split(parts, 1))], 1))
    graph = compile(model, parse_wiring("bp"), (torch.randn(6, 8), torch.arange(6) % 4)).lowered.module.graph
    found = effects(graph)
    split = next(node for node in graph.nodes if "aten.split" in str(node.target))
    (source,) = split.all_input_nodes
    assert "tanh_" in str(source.target), "in place"
    assert set(found.storages[split]) == set(found.storages[source])
    assert len(found.storages[split]) == 8 // parts
