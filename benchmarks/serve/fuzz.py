"""The API fuzzed by Schemathesis against its own schema, in all its phases.

pip install schemathesis
python benchmarks/serve/fuzz.py INDEX --examples 100
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from server import serving


def main() -> None:
    """Fuzz an index's server, and end as Schemathesis does."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("index", type=Path)
    parser.add_argument("--examples", type=int, default=100, help="for each operation and phase")
    parser.add_argument("--checks", default="all")
    given = parser.parse_args()
    with serving(given.index) as server, tempfile.TemporaryDirectory() as folder:  # for what it keeps of its findings
        command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{server.address}/openapi.json"]
        options = ["--max-examples", str(given.examples), "--checks", given.checks, "--continue-on-failure"]
        options += ["--exclude-checks", "positive_data_acceptance"]  # 422 is also what an image that is none gets
        sys.exit(subprocess.run([*command, *options], check=False, cwd=folder).returncode)


if __name__ == "__main__":
    main()
