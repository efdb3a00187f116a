"""Simulated fluorescence images of nuclei, with the labels that a perfect segmentation has."""

from terapose.simulate.scene import Scene, slide, slide_scene, volume

__all__ = ["Scene", "slide", "slide_scene", "volume"]
