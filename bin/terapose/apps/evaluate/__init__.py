"""Scores of a label image against a reference, for images of any size.

`evaluation` reads both images block by block and gives all scores; `scores` gives the first of them
alone, also of arrays in memory. docs/scores.md defines every score.
"""
