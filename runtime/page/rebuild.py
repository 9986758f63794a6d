"""A run -> its program, compiled once more for random data of the run's shape; no data set is loaded."""

import math
import warnings

import torch

from compiler import UpdateProgram, compile
from compiler.errors import WiringWarning
from runtime.models import build_model
from runtime.page.errors import ReportError
from runtime.page.reading import MALFORMED
from runtime.page.record import Shown
from runtime.page.trust import check_trusted
from runtime.recipe import DTYPES
from wiring import Wiring
from wiring.errors import ErrorwireError

LARGEST = 10**8  # numbers in a batch


def rebuild(run: Shown) -> UpdateProgram:
    """The program, over a model with other weights than the run's; random generators are left alone.

    As ``train`` does, this imports the module that the run's model is named by.

    Raises:
        ReportError: saying why there can be none.
    """
    if run.refused is not None:
        raise ReportError(run.refused)
    if not run.options:
        raise ReportError("There is no run.json beside the run, so that nothing says its model and what the data look like.")
    if run.shape is None or run.classes is None:
        raise ReportError("The run was begun by an earlier errorwire, which did not write down what the data look like.")
    if run.record is None or "model" not in run.options:
        raise ReportError("The run does not say its model or its wiring.")
    check_trusted(str(run.options["model"]), run.folder)
    try:
        return _compiled(run, Wiring.from_json(run.record), run.shape, run.classes)
    except (ErrorwireError, *MALFORMED, RuntimeError, MemoryError) as problem:
        raise ReportError(f"The model cannot be compiled here. {problem}") from problem


def _compiled(run: Shown, wiring: Wiring, shape: tuple[int, ...], classes: int) -> UpdateProgram:
    batch, autocast = run.options.get("batch_size", 32), run.options.get("autocast")
    if type(batch) is not int or not 0 < batch * math.prod(shape) <= LARGEST:
        raise ValueError(f"Batches of {batch} inputs of shape {shape} are not compiled for a page.")
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore", WiringWarning)  # the run itself has given them
        model = build_model(str(run.options["model"]), shape, classes)
        example = torch.randn(batch, *shape), torch.arange(batch) % classes
        dtype = None if autocast is None else DTYPES[autocast]
        return compile(model, wiring, example, autocast=dtype, layout=run.options.get("layout", "preserve"))
