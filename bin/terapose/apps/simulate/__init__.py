"""Simulated fluorescence images of nuclei, with the labels that a perfect segmentation has."""

from terapose.apps.simulate.scene import Scene, slide, slide_scene, volume
from terapose.apps.simulate.write import labels_path, write

__all__ = ["Scene", "labels_path", "slide", "slide_scene", "volume", "write"]
