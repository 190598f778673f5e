#!/usr/bin/env bash
# hnswlib, asked to put new rows into the places of deleted ones (`replace_deleted=True`), loses ids that come back: 0 and 1
# are deleted and added again, each takes the place of the other, and the second to come strikes the first, which is alive,
# from the list of ids. Searches still find 0, but it can be neither read nor deleted ("Label not found"), and to add it once
# more, as one updates a row, leaves two rows of that id: one of them at its old place for good.
#
# Expected: that deleted ids may be used again, as in an index without `allow_replace_deleted`, or a refusal. Its README says
# that labels which exist are updated, and `replace_deleted` is how such an index takes a deleted one at all.
# Seen, with hnswlib 0.8.0, numpy 2.4.6 on Linux x86-64 (Python 3.11):
#
#     ids: [1, 2, 3]
#     nearest to 10: 0 at 10
#     get_items([0]): RuntimeError Label not found
#     mark_deleted(0): RuntimeError Label not found
#     0 updated to 50, nearest to 50: 0 at 50
#     0 updated to 50, nearest to 10: 0 at 10
#     0 deleted, nearest to 10: 0 at 10
#
# What to do: give rows that are added with `replace_deleted` ids that were never used, and keep one's own ids beside them.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
bin="$work/venv/bin"
# hnswlib may have to be compiled.
"$bin/pip" install --quiet --disable-pip-version-check --no-input hnswlib==0.8.0 numpy==2.4.6 2>/dev/null
cat > "$work/seen.py" <<'PYTHON'
import hnswlib
import numpy as np

index = hnswlib.Index("l2", 1)
index.init_index(6, allow_replace_deleted=True, random_seed=1)
index.set_num_threads(1)
index.add_items(np.array([[0.0], [1.0], [2.0], [3.0]]), [0, 1, 2, 3])


def nearest(place):
    (found,), (apart,) = (part[0] for part in index.knn_query(np.array([[place]]), k=1))
    return f"{found} at {place + apart**0.5:.0f}"


def tried(call):
    try:
        return call()
    except RuntimeError as error:
        return f"RuntimeError {error}"


index.mark_deleted(0)
index.mark_deleted(1)
index.add_items(np.array([[10.0], [20.0]]), [0, 1], replace_deleted=True)
print("ids:", sorted(index.get_ids_list()))
print("nearest to 10:", nearest(10.0))
print("get_items([0]):", tried(lambda: index.get_items([0])))
print("mark_deleted(0):", tried(lambda: index.mark_deleted(0)))
index.add_items(np.array([[50.0]]), [0])
print("0 updated to 50, nearest to 50:", nearest(50.0))
print("0 updated to 50, nearest to 10:", nearest(10.0))
index.mark_deleted(0)
print("0 deleted, nearest to 10:", nearest(10.0))
PYTHON
"$bin/python" "$work/seen.py" | tee "$work/seen.txt"
diff "$work/seen.txt" - <<'SEEN'
ids: [1, 2, 3]
nearest to 10: 0 at 10
get_items([0]): RuntimeError Label not found
mark_deleted(0): RuntimeError Label not found
0 updated to 50, nearest to 50: 0 at 50
0 updated to 50, nearest to 10: 0 at 10
0 deleted, nearest to 10: 0 at 10
SEEN
