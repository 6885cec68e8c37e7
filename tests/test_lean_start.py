"""A report loads no more than it needs."""

import subprocess
import sys
from pathlib import Path

from exchange import simulate
from exchange.config import load_config

ASKED = """
import sys
from exchange.__main__ import main
assert main(["report", "summary", sys.argv[1]]) == 0
print("scipy.linalg" in sys.modules, "scipy.linalg.cython_blas" in sys.modules)
"""


def test_a_report_does_not_load_scipy(tmp_path: Path) -> None:
    """The compiler would, for matrices that no report multiplies; and nothing keeps others from loading it after."""
    simulate(load_config("configs/demo.toml"), 200, ledger="wins", folder=tmp_path / "ledger")
    done = subprocess.run(
        [sys.executable, "-c", ASKED, str(tmp_path / "ledger")], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "False False"
