"""Simulated fluorescence images of nuclei, with the labels that a perfect segmentation has."""
