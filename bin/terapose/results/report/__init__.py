"""A report of results, to look at and to judge: a page, the same numbers as JSON, and for MultiQC."""
