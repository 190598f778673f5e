#!/usr/bin/env bash
# faiss-cpu and faiss-gpu put their files into the same folder `faiss`, and pip lets both in without a word about it.
# To remove one of them then takes the files of the other: `import faiss` still works, and the module is empty, while
# pip lists faiss-gpu as installed.
#
# Expected: that pip refuses the second, or that removing faiss-cpu leaves a faiss-gpu that works.
# Seen, with faiss-cpu 1.15.1, faiss-gpu 1.15.1, numpy 2.2.6, packaging 25.0 on Linux x86-64 (Python 3.11):
#
#     installed: faiss-cpu faiss-gpu
#     left after pip uninstall faiss-cpu: faiss-gpu
#     import faiss: IndexFlatIP False file None
#
# What to do: uninstall both, then install faiss-gpu alone.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
bin="$work/venv/bin"
quiet=(--quiet --disable-pip-version-check --no-input)
"$bin/pip" install "${quiet[@]}" numpy==2.2.6 packaging==25.0
# Without its CUDA libraries, some gigabytes that make no difference here.
"$bin/pip" install "${quiet[@]}" --no-deps faiss-cpu==1.15.1 faiss-gpu==1.15.1 2>/dev/null

listed() { "$bin/pip" list --format=freeze 2>/dev/null | sed -n 's/^\(faiss-[a-z]*\)==.*/\1/p' | xargs; }

both=$(listed)
"$bin/pip" uninstall "${quiet[@]}" --yes faiss-cpu
left=$(listed)
seen=$(cd "$work" && "$bin/python" -c 'import faiss; print("IndexFlatIP", hasattr(faiss, "IndexFlatIP"), "file", faiss.__file__)')
echo "installed: $both"
echo "left after pip uninstall faiss-cpu: $left"
echo "import faiss: $seen"
[ "$both" = "faiss-cpu faiss-gpu" ]
[ "$left" = "faiss-gpu" ]
[ "$seen" = "IndexFlatIP False file None" ]
