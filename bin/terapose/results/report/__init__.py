"""A report to judge results by: a page, the same numbers as JSON, and some of them for MultiQC."""
