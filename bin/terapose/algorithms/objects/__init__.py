"""Objects: seeds, filters, holes, shapes, outlines."""
