"""Time and memory of each step against the size of the image: numbers, fits and a plot."""
