"""Parts of an item's text: its name, how much of it there is, and what else is said.

    parse_fields("Acme Soda, 6 x 330 ml")  # Fields("Acme Soda, 6 x 330 ml", 1980.0, "millilitre", 6)

`sections` cuts a text at the challenge's labels, `labels` knows those of other shops, `parse` makes the parts, and
`names` says what near-duplicates share and which first lines name nothing.
"""

from index.catalogue.fields.labels import first_line_key
from index.catalogue.fields.names import name_key, shared_first_lines
from index.catalogue.fields.parse import Fields, Prose, details, name_first, parse_fields, parse_prose

__all__ = [
    "Fields",
    "Prose",
    "details",
    "first_line_key",
    "name_first",
    "name_key",
    "parse_fields",
    "parse_prose",
    "shared_first_lines",
]
