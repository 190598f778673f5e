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

# An image that has the form of one may be none, and is refused. A form's fields have no types that they could violate:
# whatever bytes come are a file.
UNTYPED, TYPED = "positive_data_acceptance,negative_data_rejection", "positive_data_acceptance"
FILES = "^/v1/files"


def main() -> None:
    """Fuzz an index's server, and end with 1 where Schemathesis found anything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("index", type=Path)
    parser.add_argument("--examples", type=int, default=100, help="for each operation and phase")
    given = parser.parse_args()
    runs = [["--exclude-path-regex", FILES, "--exclude-checks", TYPED]]
    runs += [["--include-path-regex", FILES, "--exclude-checks", UNTYPED]]
    with serving(given.index) as server, tempfile.TemporaryDirectory() as folder:  # for what it keeps of its findings
        command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{server.address}/openapi.json"]
        command += ["--max-examples", str(given.examples), "--continue-on-failure"]
        codes = [subprocess.run([*command, *options], check=False, cwd=folder).returncode for options in runs]
    sys.exit(int(any(codes)))


if __name__ == "__main__":
    main()
