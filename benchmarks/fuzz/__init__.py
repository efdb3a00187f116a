"""Mutated inputs, thousands of them: none may end in a traceback, hang or fill the memory.

1. `corpus` writes a small good input of each kind (`KINDS`), and what goes with it.
2. `mutations` damages a copy: bits, lengths and splices of any file; fields of TIFF, JSON, CSV and
   of the description in a weight file; or a folder, link or pipe in the place of a file.
3. `targets` says which commands read the kind: check, plan, cut, evaluate, the reading of train.
4. `children` runs one command in a forked child of this process, which has imported everything,
   with limits of time and memory, and says how it ended.

What is done follows from the kind and the seed alone: ``--seeds 17:18 --kind tiff`` does that one
again and prints what the command said.
"""
