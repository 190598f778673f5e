"""Lists of rows for people: their columns, and the workbook, page or table that they become."""
