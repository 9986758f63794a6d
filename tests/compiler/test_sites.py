"""Where sites are found, and where the model's own writing decides: hand-made activations, conditioned blocks, axes."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import wiring
from compiler import CaptureError, EdgeError, UpdateProgram, compile
from wiring import Wiring


class Written(nn.Module):
    """Two linear layers with an activation written by hand between them."""

    def __init__(self, write: object) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(6, 8), nn.Linear(8, 3)
        self.write = write

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.write(self.first(x)))  # type: ignore[operator]
        return logits


def compiled(model: nn.Module, algorithm: Wiring | None = None) -> UpdateProgram:
    torch.manual_seed(0)
    return compile(model, algorithm or wiring.dfa(), (torch.randn(4, 6), torch.randint(0, 3, (4,))))


@pytest.mark.parametrize(
    ("write", "activation"),
    [
        (lambda h: h.clamp(min=0), "relu"),
        (lambda h: torch.clamp_min(h, 0), "relu"),
        (lambda h: h * torch.sigmoid(h), "silu"),
        (lambda h: h * torch.tanh(F.softplus(h)), "mish"),
        (lambda h: h.clamp(0, 6), "relu6"),
        (lambda h: h - torch.tanh(h), "tanhshrink"),
        (F.relu_, "relu"),
        (torch.sin, "sin"),
    ],
)
def test_activations_written_by_hand_are_one_site(write: object, activation: str) -> None:
    report = compiled(Written(write)).report()
    assert [site.activation for site in report.sites] == [activation]


def test_a_clamp_that_guards_a_norm_is_no_activation() -> None:
    with pytest.raises(Exception, match="finds no site"):
        compiled(Written(lambda h: h / h.norm(dim=1, keepdim=True).clamp(min=1e-6)))


def test_a_gate_is_no_site() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.gate, self.head = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            h = torch.tanh(self.first(x))
            logits: Tensor = self.head(h * torch.sigmoid(self.gate(h)))
            return logits

    assert [site.name for site in compiled(Gated()).report().sites] == ["tanh"]


class Conditioned(nn.Module):
    """A residual block whose branch is shifted and gated by a second input, as in diffusion networks."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer, self.condition = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(2, 16)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        shift, gate = self.condition(c).chunk(2, dim=1)
        return x + gate * self.outer(F.silu(self.inner(x) + shift))


def test_blocks_with_a_conditioning_input_are_found() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.head = nn.Linear(6, 8), nn.Linear(8, 3)
            self.blocks = nn.ModuleList([Conditioned(), Conditioned()])

        def forward(self, x: Tensor, c: Tensor) -> Tensor:
            h = self.stem(x)
            for block in self.blocks:
                h = block(h, c)
            logits: Tensor = self.head(h)
            return logits

    program = compile(Net(), wiring.rec_lra(depth=2), ((torch.randn(4, 6), torch.randn(4, 2)), torch.randint(0, 3, (4,))))
    hears = {site.name: tuple(edge.source for edge in site.edges) for site in program.report().sites}
    assert hears == {
        "blocks.0.silu": ("blocks.0.add",),
        "blocks.0.add": ("output",),
        "blocks.1.silu": ("blocks.1.add",),
        "blocks.1.add": ("output",),
    }
    assert "none found" not in program.explain()


def test_explain_says_where_recursion_finds_no_blocks() -> None:
    assert "none found" in compiled(Written(torch.tanh), wiring.rec_lra(depth=2)).explain()
    assert "none found" not in compiled(Written(torch.tanh), wiring.dfa()).explain()


def test_a_cumulative_batch_norm_is_refused_by_name() -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8, momentum=None), nn.Tanh(), nn.Linear(8, 3))
    with pytest.raises(CaptureError, match=r"'1' has momentum=None.*momentum=0.1"):
        compiled(model)


def test_reentrant_checkpointing_is_refused_and_the_other_kind_compiles() -> None:
    class Checkpointed(nn.Module):
        def __init__(self, reentrant: bool) -> None:
            super().__init__()
            self.stem, self.first, self.head = nn.Linear(6, 6), nn.Linear(6, 8), nn.Linear(8, 3)
            self.reentrant = reentrant

        def forward(self, x: Tensor) -> Tensor:
            h = checkpoint(lambda v: torch.tanh(self.first(v)), torch.tanh(self.stem(x)), use_reentrant=self.reentrant)
            logits: Tensor = self.head(h)
            return logits

    with pytest.raises(CaptureError, match="use_reentrant=False"):
        compiled(Checkpointed(True))
    assert len(compiled(Checkpointed(False)).report().sites) == 2


def test_an_output_flattened_over_positions_is_named() -> None:
    class Flattened(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.head = nn.Linear(6, 8), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.head(torch.tanh(self.first(x))).flatten(0, 1)
            return logits

    with pytest.raises(EdgeError, match=r"flattened over positions.*flatten it in the loss"):
        compile(Flattened(), wiring.dfa(), (torch.randn(4, 5, 6), torch.randint(0, 3, (20,))))
