"""Networks: load a weight file, run tiles.

`loading.load` and `files.identify` take a local file, `loading.load_all` and
`ensemble.identify_all` several whose outputs are averaged; `ensemble` turns what a user calls a
model into files. Only `loading`, and what runs tiles, imports torch: stages that merely look a file
up do without.
"""
