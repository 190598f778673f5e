"""Items of a file: which rows are items, what their cells say, amounts and parts of a text."""
