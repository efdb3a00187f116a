"""Label images: OME-Zarr and OME-TIFF."""
