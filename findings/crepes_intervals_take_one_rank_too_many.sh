#!/usr/bin/env bash
# An interval of crepes' ConformalRegressor at confidence c on n residuals is as wide as one of their ranks, and holds a new
# value with a probability of at least c: of 19 residuals at 80% the 16th smallest is enough, since 16 of 20 places are 80%.
# crepes takes the 17th there, and so the next rank at every size tried at which c (n + 1) is a whole number, such as the
# usual 99 residuals at 90%; at other sizes it takes the rank that is enough. Its intervals hold what they say, and are
# wider than they need be: of few residuals by much.
#
# Expected: the rank that is enough, ceil(c (n + 1)).
# Seen, with crepes 0.9.1, numpy 2.4.6, pandas 3.1.1, scipy 1.17.1, scikit-learn 1.8.0 on Linux x86-64 (Python 3.11):
#
#     80% of 19: enough 16, taken 17
#     80% of 20: enough 17, taken 17
#     80% of 39: enough 32, taken 33
#     80% of 57: enough 47, taken 47
#     90% of 99: enough 90, taken 91
#     90% of 400: enough 361, taken 361
#
# What to do: where residuals are few, take one at which no place falls on the confidence, such as 20 or 100 of them.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
bin="$work/venv/bin"
"$bin/pip" install --quiet --disable-pip-version-check --no-input crepes==0.9.1 numpy==2.4.6 pandas==3.1.1 scipy==1.17.1 scikit-learn==1.8.0 2>/dev/null
cat > "$work/seen.py" <<'PYTHON'
from fractions import Fraction
from math import ceil

import numpy as np
from crepes import ConformalRegressor


def rank(rows, confidence):
    """The rank of the residual 1, 2, ... rows that an interval is as wide as."""
    regressor = ConformalRegressor().fit(np.arange(1.0, rows + 1))
    low, high = regressor.predict_int(np.zeros(1), confidence=float(confidence))[0]
    return round((high - low) / 2)


for percent, rows in ((80, 19), (80, 20), (80, 39), (80, 57), (90, 99), (90, 400)):
    confidence = Fraction(percent, 100)
    print(f"{percent}% of {rows}: enough {ceil(confidence * (rows + 1))}, taken {rank(rows, confidence)}")
PYTHON
"$bin/python" "$work/seen.py" | tee "$work/seen.txt"
diff "$work/seen.txt" - <<'SEEN'
80% of 19: enough 16, taken 17
80% of 20: enough 17, taken 17
80% of 39: enough 32, taken 33
80% of 57: enough 47, taken 47
90% of 99: enough 90, taken 91
90% of 400: enough 361, taken 361
SEEN
