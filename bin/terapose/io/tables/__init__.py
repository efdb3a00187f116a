"""Tables of cells and outlines, as files."""
