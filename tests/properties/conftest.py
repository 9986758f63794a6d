"""How many examples the properties are tried on: ``HYPOTHESIS_PROFILE=thorough`` tries ten times as many as ``ci``, the default."""

import os
from collections.abc import Generator, Iterator

import pytest
import torch
from hypothesis import Phase, settings

PHASES = [Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink]
"""Without explaining, which compiles many programs more."""

settings.register_profile("ci", deadline=None, derandomize=True, max_examples=200, phases=PHASES)
settings.register_profile("thorough", settings.get_profile("ci"), max_examples=2000)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Tests take the profile that holds while they are imported: those of other folders keep their own."""
    settings.register_profile("elsewhere", settings.default)
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
    try:
        return (yield)
    finally:
        settings.load_profile("elsewhere")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Sums in one order, so that nothing depends on the machine's load."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
