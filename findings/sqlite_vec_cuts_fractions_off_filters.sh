#!/usr/bin/env bash
# sqlite-vec compares a metadata column of integers with the whole part of a number that has a fraction. A search of the
# nearest rows `WHERE stars >= 4.5` answers rows of 4 stars before any of 5, `= 4.5` finds those of 4, and `< 4.5` and
# `!= 4.5` leave them out. The same condition on the same column is right where no search is asked for.
#
# Expected: what SQLite answers for an integer and 4.5, or a refusal, as an insert of 4.5 into the column is refused.
# Seen, with sqlite-vec 0.1.9, pysqlite3-binary 0.5.4.post2 on Linux x86-64 (Python 3.11):
#
#     stars >= 4.5: nearest 4, 4, 5; of all 5, 5, 5
#     stars = 4.5: nearest 4, 4; of all none
#     stars < 4.5: nearest 3, 3, 3; of all 4, 4, 3, 3, 3
#     stars != 4.5: nearest 5, 5, 5; of all 4, 4, 5, 5, 5, 3, 3, 3
#     stars > 4.5: nearest 5, 5, 5; of all 5, 5, 5
#
# What to do: round the bound of a filter on integers oneself, up for >= and <, or declare the column as FLOAT.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
bin="$work/venv/bin"
# Python's own sqlite3 may be built without extensions.
"$bin/pip" install --quiet --disable-pip-version-check --no-input sqlite-vec==0.1.9 pysqlite3-binary==0.5.4.post2 2>/dev/null
cat > "$work/seen.py" <<'PYTHON'
import pysqlite3
import sqlite_vec

database = pysqlite3.connect(":memory:")
database.enable_load_extension(True)
sqlite_vec.load(database)
database.execute("CREATE VIRTUAL TABLE items USING vec0(item INTEGER PRIMARY KEY, place FLOAT[1], stars INTEGER)")
for item, stars in enumerate([4, 4, 5, 5, 5, 3, 3, 3]):
    database.execute("INSERT INTO items VALUES (?, ?, ?)", (item, f"[{item}]", stars))


def stars_where(condition):
    found = database.execute(f"SELECT stars FROM items WHERE {condition}").fetchall()
    return ", ".join(str(stars) for (stars,) in found) or "none"


for condition in ("stars >= 4.5", "stars = 4.5", "stars < 4.5", "stars != 4.5", "stars > 4.5"):
    nearest = stars_where(f"place MATCH '[0]' AND k = 3 AND {condition} ORDER BY distance")
    print(f"{condition}: nearest {nearest}; of all {stars_where(condition + ' ORDER BY item')}")
PYTHON
"$bin/python" "$work/seen.py" | tee "$work/seen.txt"
diff "$work/seen.txt" - <<'SEEN'
stars >= 4.5: nearest 4, 4, 5; of all 5, 5, 5
stars = 4.5: nearest 4, 4; of all none
stars < 4.5: nearest 3, 3, 3; of all 4, 4, 3, 3, 3
stars != 4.5: nearest 5, 5, 5; of all 4, 4, 5, 5, 5, 3, 3, 3
stars > 4.5: nearest 5, 5, 5; of all 5, 5, 5
SEEN
