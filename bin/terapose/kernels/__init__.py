"""Compiled kernels: what is done once per voxel and decides speed and memory."""
