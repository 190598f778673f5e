#!/usr/bin/env bash
# LanceDB takes a table with a column whose name holds a backtick, keeps its rows and lists the column in the schema;
# but nothing that names its columns can read the table again, not even `to_arrow()`, which names none itself.
#
# Expected: that the name is refused when the table is made, as one with a dot is ("Top level field ... cannot contain"),
# or that the rows come back.
# Seen, with lancedb 0.40.0, pyarrow 26.0.1 on Linux x86-64 (Python 3.11):
#
#     schema: ['id', 'width (6`)']
#     rows: 2
#     whole: ValueError No field named
#     without it: ['id']
#
# What to do: spell a backtick (and a dot, and what the spelling itself uses) some other way in names of columns.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
bin="$work/venv/bin"
quiet=(--quiet --disable-pip-version-check --no-input)
"$bin/pip" install "${quiet[@]}" lancedb==0.40.0 pyarrow==26.0.1
cat > "$work/seen.py" <<'PYTHON'
import sys

import lancedb
import pyarrow as pa

name = "width (6`)"
database = lancedb.connect(sys.argv[1])
table = database.create_table("goods", pa.table({"id": ["a", "b"], name: [1.0, 2.0]}))
print("schema:", table.schema.names)
print("rows:", table.count_rows())
try:
    print("whole:", table.to_arrow().column_names)
except ValueError as error:
    print("whole: ValueError", "No field named" if "No field named" in str(error) else error)
print("without it:", table.search().select(["id"]).to_arrow().column_names)
PYTHON
seen=$("$bin/python" "$work/seen.py" "$work/database" 2>/dev/null)
echo "$seen"
[ "$seen" = "schema: ['id', 'width (6\`)']
rows: 2
whole: ValueError No field named
without it: ['id']" ]
