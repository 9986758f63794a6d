"""A ResNet-50 compiles, and leaves nothing behind on the disk."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import torch, wiring
from compiler import compile
from runtime.models import build_model
model = build_model("resnet50", (3, 32, 32), 10)
program = compile(model, wiring.rec_lra(depth=2), (torch.randn(2, 3, 32, 32), torch.randint(0, 10, (2,))))
print(len(program.plan.errors.sites))
"""


def test_resnet50_compiles_and_leaves_no_file(tmp_path: Path) -> None:
    """In a process of its own, whose temporary and working folder are watched."""
    (tmp_path / "watched").mkdir()
    root = Path(__file__).parent.parent.parent
    environment = {k: v for k, v in os.environ.items() if k != "TORCHINDUCTOR_CACHE_DIR"}
    environment |= {"TMPDIR": str(tmp_path / "watched"), "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=tmp_path / "watched", env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(1 + 3 * 16)]
    assert list((tmp_path / "watched").rglob("*")) == []
