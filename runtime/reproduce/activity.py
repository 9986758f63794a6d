"""What a network's sites answer to a batch: read behind the modules whose outputs they are."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from runtime.errors import TrainingError
from runtime.learner import Learner


@torch.no_grad()
def activity(learner: Learner, x: Tensor, sites: Iterable[str]) -> tuple[dict[str, Tensor], Tensor]:
    """``z`` of each site as ``[N, ...]``, and the model's output, in evaluation mode; nothing of the learner changes.

    Raises:
        TrainingError: a site that is no module's output, such as a function's within a module's own ``forward``.
    """
    modules, values = dict(learner.model.named_modules()), dict[str, Tensor]()

    def keep(site: str, module: nn.Module, inputs: Any, output: Tensor) -> None:
        values[site] = output.detach()

    for site in (wanted := tuple(sites)):
        if site not in modules:
            raise TrainingError(f"Site {site!r} is no module's output, so that its activity cannot be read. Make it one.")
    hooks = [modules[site].register_forward_hook(partial(keep, site)) for site in wanted]
    training = learner.training
    try:
        output: Tensor = learner.eval()(x)
    finally:
        learner.train(training)
        for hook in hooks:
            hook.remove()
    return values, output
