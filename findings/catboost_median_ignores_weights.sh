#!/usr/bin/env bash
# CatBoost documents MAE and Quantile as weighted means over the rows. Its default leaves for both (`Exact`, the median of
# the leaf) come out as if every row weighed 1: 20 zeros that weigh 100 each, beside 80 ones that weigh 1, are answered
# with 1. Leaves by gradient (`leaf_estimation_method="Gradient"`) heed the weights, and so do the same rows repeated.
#
# Expected: 0 from all of them, the weighted median.
# Seen, with catboost 1.2.10, numpy 2.4.6, pandas 3.1.1, scipy 1.17.1 on Linux x86-64 (Python 3.11):
#
#     MAE Exact by default: True
#     MAE, weights: 1.00
#     Quantile:alpha=0.5, weights: 1.00
#     MAE, weights, gradient leaves: 0.14
#     MAE, rows repeated: 0.00
#
# What to do: ask for leaves by gradient wherever rows have weights.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
bin="$work/venv/bin"
quiet=(--quiet --disable-pip-version-check --no-input)
"$bin/pip" install "${quiet[@]}" numpy==2.4.6 pandas==3.1.1 scipy==1.17.1 2>/dev/null
# Without matplotlib and plotly, which it draws with.
"$bin/pip" install "${quiet[@]}" --no-deps catboost==1.2.10 graphviz==0.21 six==1.17.0 2>/dev/null
cat > "$work/seen.py" <<'PYTHON'
import numpy as np
from catboost import CatBoostRegressor, Pool

target = np.r_[np.zeros(20), np.ones(80)]
weight = np.r_[np.full(20, 100.0), np.ones(80)]


def side(rows):
    """One feature, which says nothing of the target."""
    return np.tile([[0.0], [1.0]], (rows // 2, 1))


def answer(loss, pool, **how):
    plain = {"iterations": 50, "learning_rate": 0.3, "depth": 1, "random_seed": 0, "thread_count": 1}
    model = CatBoostRegressor(loss_function=loss, verbose=0, allow_writing_files=False, **plain, **how).fit(pool)
    return model, float(model.predict([[0.0]])[0])


weighted = Pool(side(100), target, weight=weight)
model, price = answer("MAE", weighted)
print("MAE Exact by default:", model.get_all_params()["leaf_estimation_method"] == "Exact")
print(f"MAE, weights: {price:.2f}")
print(f"Quantile:alpha=0.5, weights: {answer('Quantile:alpha=0.5', weighted)[1]:.2f}")
print(f"MAE, weights, gradient leaves: {answer('MAE', weighted, leaf_estimation_method='Gradient')[1]:.2f}")
repeated = np.repeat(target, weight.astype(int))
print(f"MAE, rows repeated: {answer('MAE', Pool(side(len(repeated)), repeated))[1]:.2f}")
PYTHON
seen=$("$bin/python" "$work/seen.py")
echo "$seen"
[ "$seen" = "MAE Exact by default: True
MAE, weights: 1.00
Quantile:alpha=0.5, weights: 1.00
MAE, weights, gradient leaves: 0.14
MAE, rows repeated: 0.00" ]
