"""Composite operators are kept whole as torch keeps them, without readying every one that there is."""

import pytest
import torch
from architectures import CASES
from torch import nn
from torch.export import exported_program

from compiler.composites import only_called


class Own(nn.Module):
    """Composite operators of many kinds, in place, in views, and inside a block without gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.cell, self.attention = nn.BatchNorm1d(8), nn.LSTM(8, 8, 2, batch_first=True), nn.MultiheadAttention(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            scale = nn.functional.softmax(x, 1).square().std()
        h = nn.functional.dropout(self.norm(x / scale).mT, inplace=True)
        h = torch.chunk(h.to(torch.float64).type_as(x).movedim(0, 1).swapaxes(0, 1), 2, 1)[1].contiguous()
        h = self.cell(h)[0]
        h = self.attention(h, h, h)[0].flatten(1).unflatten(1, (-1, 8))
        return torch.einsum("npi,npj->nij", h, h).ravel().reshape(len(x), -1)


def decomposed(program: torch.export.ExportedProgram) -> list[str]:
    modules = program.run_decompositions({}).graph_module.modules()
    return [str(module.graph) for module in modules if isinstance(module, torch.fx.GraphModule)]


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("name", ["own", "in place", "resnet20", "densenet", "vit", "convnext", "mobilenet_v2", "unrolled_gru"])
def test_the_graph_is_the_one_that_torch_makes(name: str) -> None:
    models = {"own": Own, "in place": lambda: nn.Sequential(nn.Conv1d(8, 8, 1), nn.AlphaDropout(inplace=True))}
    case = CASES.get(name)
    model, x = (models[name](), torch.randn(4, 8, 6)) if case is None else (case.build(), case.inputs())
    program = torch.export.export(model, x if isinstance(x, tuple) else (x,), strict=False)
    every = exported_program._collect_all_valid_cia_ops
    with only_called(program):
        assert (exported_program._collect_all_valid_cia_ops is every) is (name == "in place"), "what torch takes apart may need all"
        few = decomposed(program)
    assert exported_program._collect_all_valid_cia_ops is every
    assert few == decomposed(program)
