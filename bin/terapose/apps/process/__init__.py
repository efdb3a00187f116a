"""Functions of labels, applied to label images of any size: `terapose.apps.process.run.process`.

What functions are, and why the result does not depend on the blocks, is in
`terapose.results.processing`.
"""
