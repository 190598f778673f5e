"""Files of shops and spreadsheets: which column is what, and which rows are articles."""
