"""Memory formats: what arrives at a site lies as the site does, gradients as their parameters, and numbers do not depend on it."""

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from architectures import CASES
from torch import Tensor, fx, nn

from compiler import CompileError, UpdateProgram, compile
from compiler.formats import axis_order, channels_last, in_order, map_order
from compiler.port import Port
from compiler.synapses import DenseOperator, operator
from runtime import Learner
from runtime.learner import named_results
from wiring import Dense, Edge, Explicit, Gradient, Rule, Wiring, parse_wiring
from wiring.spec import Synapse

LAST = torch.channels_last
WIRINGS = ("bp", "fa", "dfa", "dkp", "drtp", "rec_lra", "ekdaa", "lra_e")
ELEMENTWISE = {"add", "sub", "mul", "div", "threshold_backward", "tanh_backward", "where", "native_batch_norm_backward"}

pytestmark = pytest.mark.filterwarnings("ignore::compiler.WiringWarning")


class Block(nn.Module):
    """Two convolutions with batch norm beside a projection."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


def resnet(channels: int = 3) -> nn.Module:
    """Stem and two blocks on ``[N, channels, 8, 8]``."""
    torch.manual_seed(0)
    stem = (nn.Conv2d(channels, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
    return nn.Sequential(*stem, Block(8, 8, 1), Block(8, 16, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5))


def normed() -> nn.Module:
    """Maps without convolutions, which would leave channels_last in float64."""
    torch.manual_seed(0)
    maps = (nn.BatchNorm2d(3), nn.Tanh(), nn.BatchNorm2d(3), nn.Tanh(), nn.AvgPool2d(2), nn.BatchNorm2d(3), nn.Tanh())
    return nn.Sequential(*maps, nn.Flatten(), nn.Linear(48, 16), nn.Tanh(), nn.Linear(16, 5)).double()


def images(channels: int = 3, count: int = 20) -> Tensor:
    return torch.randn(count, channels, 8, 8, generator=torch.Generator().manual_seed(0))


def classes(count: int = 20) -> Tensor:
    return torch.arange(count) % 5


def learned(model: nn.Module, wiring: str | Wiring, x: Any, y: Any, **options: Any) -> Learner:
    """A learner on a copy of the model behind one step."""
    parsed = parse_wiring(wiring) if isinstance(wiring, str) else wiring
    learner = Learner(compile(copy.deepcopy(model), parsed, (x, y), **options))
    torch.manual_seed(1)
    learner.learn(x, y)
    return learner


def strides(tensor: Tensor) -> list[int]:
    """Those that matter: of axes longer than one."""
    return [stride for stride, size in zip(tensor.stride(), tensor.shape, strict=True) if size > 1]


def same(one: Learner, other: Learner, tolerance: float) -> None:
    """Gradients and buffers agree, relative to the largest gradient where one is rounding; gradients lie as parameters do."""
    reference = dict(one.named_parameters())
    largest = max(p.grad.norm().item() for p in reference.values() if p.grad is not None)
    for name, parameter in other.named_parameters():
        oracle = reference[name].grad
        assert (parameter.grad is None) == (oracle is None), name
        if parameter.grad is not None and oracle is not None:
            size = oracle.norm().item()
            error = (parameter.grad - oracle).norm().item() / (size if size > 1e-6 * largest else largest)
            assert error <= tolerance, f"{name} is off by {error:.1e}"
            assert strides(parameter.grad) == strides(parameter), name
    for name, buffer in other.model.named_buffers():
        torch.testing.assert_close(buffer, one.model.get_buffer(name), rtol=tolerance, atol=tolerance)


def values(node: fx.Node) -> list[Tensor]:
    return [v for s in node.all_input_nodes if isinstance(v := s.meta.get("val"), Tensor) and v.dim() > 3]


def mixed(program: UpdateProgram) -> list[str]:
    """Elementwise nodes that read maps of one shape in different orders of their axes."""
    found = []
    for node in program.lowered.module.graph.nodes:
        name = getattr(node.target, "_opname", "").rstrip("_")
        orders = {(v.shape, axis_order(v)) for v in values(node) if v.shape[1] > 1 and v.shape[2:].numel() > 1}
        if name in ELEMENTWISE and len({shape for shape, _ in orders}) < len(orders):
            found.append(f"{node.name} of {node.meta['custom']['task']}")
    return found


def copies(program: UpdateProgram) -> list[Tensor]:
    """What the program copies of the maps that hold samples."""
    nodes = [n for n in program.lowered.module.graph.nodes if getattr(n.target, "_opname", "") in ("clone", "_to_copy")]
    return [n.meta["val"] for n in nodes if n.meta["val"].dim() == 4 and n.meta["val"].shape[0] == program.plan.batch]


# ------------------------------------------------------------------------------------------------ numbers


@pytest.mark.parametrize("wiring", WIRINGS)
def test_numbers_do_not_depend_on_the_layout(wiring: str) -> None:
    model, x, y = normed(), images().double(), classes()
    plain = learned(model, wiring, x, y)
    same(plain, learned(model, wiring, x, y, layout="channels_last"), 1e-10)
    same(plain, learned(model, wiring, x.to(memory_format=LAST), y), 1e-10)


def maps(learner: Learner) -> list[Tensor]:
    """The real values of every map's credit."""
    lowered = learner.program.probed()
    credits = named_results(lowered, learner.run(lowered, learner.program.inputs, learner.program.labels))["credits"]
    return [value for value in credits.values() if value.dim() == 4]


@pytest.mark.parametrize("wiring", ["dkp", "ekdaa"])
def test_numbers_of_convolutions(wiring: str) -> None:
    model, x, y = resnet(), images(), classes()
    plain = learned(model, wiring, x, y)
    last = learned(model, wiring, x, y, layout="channels_last")
    same(plain, last, 1e-4)
    assert {axis_order(v) for v in maps(last)} == {(0, 2, 3, 1)}
    assert {axis_order(v) for v in maps(plain)} == {(0, 1, 2, 3)}


@pytest.mark.parametrize("name", ["group_norm", "shape_dependent"])
def test_numbers_of_published_networks(name: str) -> None:
    case = CASES[name]
    torch.manual_seed(0)
    model, x = case.build().double(), tuple(tensor.double() for tensor in case.inputs())
    plain = learned(model, "dkp", x, case.labels())
    same(plain, learned(model, "dkp", x, case.labels(), layout="channels_last"), 1e-10)


def test_volumes() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm3d(3), nn.Tanh(), nn.BatchNorm3d(3), nn.Tanh(), nn.Flatten(), nn.Linear(192, 5)).double()
    x = torch.randn(8, 3, 4, 4, 4, dtype=torch.float64)
    plain, last = (learned(model, "dkp", x, classes(8), layout=layout) for layout in ("preserve", "channels_last"))
    same(plain, last, 1e-10)
    assert not mixed(last.program)


def test_a_model_without_maps_is_untouched() -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 5))
    texts = [
        str(compile(model, parse_wiring("dkp"), (torch.randn(4, 6), classes(4)), layout=layout).lowered.module.graph)
        for layout in ("preserve", "channels_last")
    ]
    assert texts[0] == texts[1]


class Strided(nn.Module):
    """Reads its input's memory with the channels innermost, wherever they are."""

    def forward(self, x: Tensor) -> Tensor:
        return x.as_strided(x.shape, (192, 1, 24, 3))


@pytest.mark.parametrize("wiring", ["bp", "dkp"])
def test_an_operator_that_reads_strides_sees_those_of_the_model(wiring: str) -> None:
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Tanh(), Strided(), nn.BatchNorm2d(3), nn.Tanh(), nn.Flatten(), nn.Linear(192, 5))
    x = images().double()
    plain, last = (learned(model.double(), wiring, x, classes(), layout=layout) for layout in ("preserve", "channels_last"))
    same(plain, last, 1e-10)


def test_the_loss_sees_the_output_as_the_model_gives_it() -> None:
    def loss(output: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(output.view(len(y), -1)[:, :5], y)

    model, x = nn.Sequential(nn.BatchNorm2d(3), nn.Tanh(), nn.BatchNorm2d(3)).double(), images().double()
    plain, last = (learned(model, "bp", x, classes(), loss=loss, layout=layout) for layout in ("preserve", "channels_last"))
    same(plain, last, 1e-10)
    assert last.learn(x, classes()).output.is_contiguous()


# ------------------------------------------------------------------------------------------------ what lies how


@pytest.mark.parametrize(("wiring", "whole"), [("drtp", False), ("dkp", False), ("dkp", True), ("rec_lra", False)])
def test_what_meets_at_a_site_lies_the_same_way(wiring: str, whole: bool) -> None:
    model, x = resnet(), images()
    if whole:
        model, x = model.to(memory_format=LAST), x.to(memory_format=LAST)
    program = compile(model, parse_wiring(wiring), (x, classes()), layout="preserve" if whole else "channels_last")
    assert mixed(program) == []
    assert [value.shape for value in copies(program)] == ([] if whole else [x.shape])


def test_one_channel_is_brought_into_channels_last() -> None:
    learner = learned(resnet(1), "dfa", images(1), classes(), layout="channels_last")
    assert {axis_order(v) for v in maps(learner)} == {(0, 2, 3, 1)}


def test_an_operator_of_the_users_need_not_know() -> None:
    class Own(Synapse):
        kind: str = "own"

    @operator(Own)
    class OwnOperator(DenseOperator):
        def start(self, spec: Any, shape: tuple[int, ...], source: Port, generator: torch.Generator) -> Tensor:
            return torch.randn(shape, generator=generator)

        def transmit(self, spec: Any, synapse: Tensor, error: Tensor, source: Port, target: Port) -> Tensor:
            return (error @ synapse.reshape(source.units, -1)).reshape(target.shape)

    assert OwnOperator
    edges = tuple(Edge(source="output", target=name) for name in ("1", "3", "6", "9"))
    own, dense = (
        Wiring(name="own", rules=(Rule(topology=Explicit(edges=edges), synapse=synapse, credit=Gradient()),))
        for synapse in (Own(), Dense())
    )
    x = images().double().to(memory_format=LAST)
    learner = learned(normed(), own, x, classes())
    assert {axis_order(v) for v in maps(learner)} == {(0, 2, 3, 1)}
    assert mixed(learner.program) == mixed(learned(normed(), dense, x, classes()).program) == []


PLAIN = torch.contiguous_format


@pytest.mark.parametrize(
    ("wiring", "weights", "batch"),
    [("bp", LAST, PLAIN), ("kp", LAST, LAST), ("ekdaa", PLAIN, LAST), ("dkp", LAST, PLAIN)],
    ids=str,
)
def test_gradients_lie_as_their_parameters(wiring: str, weights: torch.memory_format, batch: torch.memory_format) -> None:
    learner = learned(resnet().to(memory_format=weights), wiring, images().to(memory_format=batch), classes())
    for name, parameter in learner.named_parameters():
        if parameter.grad is not None:
            assert strides(parameter.grad) == strides(parameter), name


def test_a_model_that_changes_its_format_is_traced_anew() -> None:
    learner = learned(resnet(), "bp", images(), classes())
    learner.zero_grad()
    learner.to(memory_format=LAST)
    learner.learn(images(), classes())
    weight = learner.model.get_parameter("0.weight")
    assert weight.grad is not None
    assert strides(weight.grad) == strides(weight) == [27, 1, 9, 3]


# ------------------------------------------------------------------------------------------------ one transmission


@pytest.mark.parametrize("source", [(6, 5), (6, 2, 3, 1), (6, 2, 3, 2)])
@pytest.mark.parametrize("target", [(6, 3, 2, 4), (6, 1, 2, 2), (18, 4, 2, 3)], ids=["map", "small", "rows"])
@pytest.mark.parametrize("last", [(0, 1), (1, 0), (1, 1)], ids=["target", "source", "both"])
def test_a_dense_transmission_means_the_same_in_every_order(
    source: tuple[int, ...], target: tuple[int, ...], last: tuple[int, int]
) -> None:
    generator = torch.Generator().manual_seed(0)
    ends = Port("a", source, 6, 1), Port("b", target, 6, 1)
    error = torch.randn(source, generator=generator, dtype=torch.float64)
    synapse = torch.randn(ends[0].units, *ends[1].unit_shape, generator=generator, dtype=torch.float64, requires_grad=True)
    post = torch.randn(target, generator=generator, dtype=torch.float64)
    want = DenseOperator().transmit(Dense(), synapse, error, *ends)
    learnt = torch.autograd.grad(want, synapse, post)[0]
    if last[0]:
        error = channels_last(error)
    place = channels_last(post) if last[1] else post
    got = DenseOperator().transmit(Dense(), synapse, error, ends[0].lying(map_order(error)), ends[1].lying(map_order(place)))
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(torch.autograd.grad(got, synapse, place)[0], learnt)
    if ends[0].units <= 6:
        assert axis_order(got) == axis_order(place)


def test_orders_of_axes() -> None:
    value = torch.zeros(4, 3, 5, 6)
    assert axis_order(value) == (0, 1, 2, 3)
    assert axis_order(value.to(memory_format=LAST)) == (0, 2, 3, 1)
    assert axis_order(value.permute(3, 0, 2, 1)) == (1, 3, 2, 0)
    assert axis_order(value[:, :, ::2]) == axis_order(torch.zeros(1, 1, 1, 6).expand(4, 3, 5, 6)) == (0, 1, 2, 3)
    assert axis_order(value[:, :1].to(memory_format=LAST)) == (0, 1, 2, 3)
    assert in_order(value, (0, 2, 3, 1)).stride() == value.to(memory_format=LAST).stride()
    assert in_order(value, (0, 1, 2, 3)) is value
    assert channels_last(value[0]).stride() == value[0].stride()


# ------------------------------------------------------------------------------------------------ the option


def test_the_twin_inherits_the_layout() -> None:
    program = compile(normed(), parse_wiring("dfa"), (images().double(), classes()), layout="channels_last")
    assert program.backpropagation().source.layout == program.backpropagation().plan.layout == "channels_last"


def test_another_layout_is_refused() -> None:
    with pytest.raises(CompileError) as caught:
        compile(normed(), parse_wiring("bp"), (images().double(), classes()), layout="NHWC")  # type: ignore[arg-type]
    assert str(caught.value) == (
        "layout='NHWC' names no memory format that a step is computed in. Use 'preserve' or 'channels_last'."
    )
