"""Functions of labels that work block by block, with one result whatever the blocks are.

The result is that of the whole image in one block, whatever the blocks are. Three kinds of
functions have this property, by definition or because it is enforced:

**Functions of numbers** (``renumber``) get all IDs and the size of each object, and return a new ID
for each. They never see a block.

**Functions of objects** (``EACH = "object"``) get one object, alone in the box that holds all of it
(widened by the halo, cut off at the border of the image), whichever block asks for it. Objects that
several blocks share are processed in each of them, with the same result. What such a function
returns are names of the parts of this object; voxels outside it are refused.

**Functions of blocks** get the labels within ``halo + 1`` voxels of a block, and have to be
*local*:

- ``RETURNS = "ids"``: the ID of a voxel depends only on the labels (and the image) within the halo
  of that voxel, as values.
- ``RETURNS = "names"``: whether a voxel is background, and whether two neighbouring voxels have the
  same name, depends only on the labels within the halo of these voxels; the names themselves mean
  nothing. New objects are what neighbouring voxels of the same name join (26 neighbours, in a
  plane 8), so parts that do not touch are different objects, in one block as in many.

Each block also judges the layer of voxels around it, so two blocks that meet judge the same voxels
on both sides of their border. If they disagree, the function is not local within this halo, and the
result is refused. For functions that agree there by chance and are not local elsewhere, nothing is
promised: the halo is the author's word.

Blocks number the new objects that they see, in an array of their own; voxel pairs across borders
join them. The final IDs are dense: objects by names are numbered by the position of their first
voxel, all others by their IDs (and, of parts of an object, by their names). Neither depends on the
blocks, so the files do not, either.

Memory: a few copies of a block with its halo for each thread, and some 100 bytes for each object.
"""
