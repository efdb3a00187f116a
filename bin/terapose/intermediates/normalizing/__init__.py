"""How intensities become the network's input: a module for each mode of ``normalize``.

Each has four functions (`terapose.intermediates.normalizing.modes.Mode`): two for the voxels of
one task, to measure and to scale them, and two for what all tasks have measured.
"""
