"""Names that users bring along from other programs, and what says the same here.

Only names that this program does not have are listed: a run with one of them is refused, with
the new name in the message. ``docs/coming-from.md`` shows the same table, and explains names that
both have but that do not mean the same.
"""

from __future__ import annotations

from typing import NamedTuple

from terapose.core.near import plain

_SAYS_ITSELF = "not needed, the network's file says what it is"
_FINDS_ITSELF = "not needed, the libraries choose by themselves"
_ALWAYS = "not needed, every run writes labels.zarr and a table"


class Other(NamedTuple):
    """A name of another program.

    Attributes
    ----------
    program
        Whose it is.
    names
        How it is written there; several that come to the same.
    here
        What says the same here.
    """

    program: str
    names: tuple[str, ...]
    here: str


def _of(program: str, *rows: tuple[str, str]) -> tuple[Other, ...]:
    return tuple(Other(program, tuple(names.split()), here) for names, here in rows)


PARAMETERS = (
    *_of(
        "Cellpose",
        ("do_3D", "mode 3d (the default for a volume)"),
        ("pretrained_model model_type", "model"),
        ("diam", "diameter"),
        ("chan", "channels, counted from 1"),
        ("chan2", "channels: cell, then nucleus, as in 1,2"),
        ("all_channels", "channels: up to three for a network of Cellpose 4"),
        ("channel_axis z_axis", "axes: the letters of all axes in order, as in CZYX"),
        ("dir image_path", "input, or IMAGE of terapose segment: a file, a folder or a pattern"),
        ("img_filter", "input: a quoted pattern, as in 'images/*_dapi.tif'"),
        ("look_one_level_down", "input: a samplesheet"),
        ("savedir", "outdir, or OUT of terapose segment"),
        ("dir_above in_folders output_name", "outdir, in which each sample has a folder"),
        ("save_tif save_png", "mask_tiff: the name of a TIFF file beside labels.zarr"),
        ("save_flows", "keep_intermediates, whose default keeps them for other thresholds"),
        ("save_outlines save_mpl", "report: true, or terapose picture"),
        ("save_txt save_rois", "table: csv,parquet,geojson (outlines, for QuPath)"),
        ("no_npy save_ncolor", _ALWAYS),
        ("boundary_threshold diam_threshold", "flow_threshold"),
        ("mask_threshold cell_threshold", "cellprob_threshold"),
        ("exclude_on_edges remove_edge_masks", "border: drop"),
        ("flow3D_smooth dP_smooth", "flow3d_smooth"),
        ("no_norm", "normalize: none"),
        ("norm_percentile", "percentiles, as in 1,99"),
        ("norm3D", "normalize: global for true, plane for false"),
        ("tile_norm_blocksize", "normalize: tile, with normalize_tile"),
        ("sharpen_radius smooth_radius", "none, filter the image beforehand"),
        ("no_resample resample", "not needed, flows are always brought to the size of the image"),
        ("no_interp interp", "not needed, flows are always interpolated"),
        ("net_avg no_net_avg fast_mode", "model: several networks, separated by commas"),
        ("bsize tile", "not needed, tiles are as wide as in training"),
        ("rescale", "diameter"),
        ("unet nclasses style_on residual_on concatenation transformer", _SAYS_ITSELF),
        ("omni", "none, networks of Omnipose do not run here"),
        ("pretrained_model_ortho", "not needed, one network sees all three orientations"),
        ("restore_type chan2_restore", "none, restore the image beforehand, with Cellpose 3"),
        ("add_model", "model: the path of the file"),
        ("gpu", "use_gpu"),
        ("gpu_device", "use_gpu, with the environment variable CUDA_VISIBLE_DEVICES"),
        ("mxnet mkldnn check_mkl", _FINDS_ITSELF),
        ("verbose", "not needed, progress is always shown"),
        ("Zstack", "none, there is no window; terapose view shows results"),
        ("train train_size", "the command terapose train"),
    ),
    *_of(
        "Cellpose's distributed_eval",
        ("input_zarr", "input, or IMAGE of terapose segment"),
        ("write_path", "outdir, or OUT of terapose segment"),
        ("blocksize", "block_shape; the result does not depend on it"),
        ("mask foreground_mask", "region: an image of the tissue"),
        ("preprocessing_steps", "none, filter the image beforehand"),
        ("model_kwargs eval_kwargs", "parameters by themselves, as in model and diameter"),
        ("cluster cluster_kwargs", "a profile of the workflow, as in -profile slurm"),
        ("temporary_directory", "store, or Nextflow's -work-dir"),
    ),
    *_of(
        "aind-large-scale-cellpose",
        ("model_name", "model"),
        ("min_cell_volume", "min_size"),
        ("percentile_range", "percentiles"),
        ("multiscale source_multiscale", "level"),
        ("dataset_paths", "input; several channels are one image, chosen by channels"),
        ("results_folder", "outdir"),
        ("scratch_folder", "store, or Nextflow's -work-dir"),
        ("global_normalization", "normalize: global (the default)"),
        ("upsample_masks dest_multiscale", "upscale"),
        ("prediction_chunksize super_chunksize", "block_shape"),
        ("slices_per_axis", "slab_planes"),
        ("target_size_mb", "max_memory"),
        ("n_workers co_cpus", "jobs of terapose segment, or max_tasks"),
        ("axis_overlap", "not needed, it follows from the parameters"),
    ),
    *_of(
        "mccellpose",
        ("output_cell", "mask_tiff"),
        ("output_nucleus", "expand: the nuclei are in nucleus.ome.tif, beside mask_tiff"),
        ("expand_size", "expand, in pixels"),
        ("tile_width", "block_shape; the result does not depend on it"),
        ("output_discard", "not needed, no cell is discarded at the border of a tile"),
    ),
)
"""Parameters: options of a segmentation, and keys of parameter files."""

TRAINING = _of(
    "Cellpose",
    ("dir", "DATA"),
    ("test_dir", "--holdout"),
    ("pretrained_model", "--init"),
    ("n_epochs", "--epochs"),
    ("learning_rate", "--rate"),
    ("batch_size train_batch_size", "--batch"),
    ("bsize", "--crop"),
    ("nimg_per_epoch", "--steps"),
    ("diam_mean", "--diameter"),
    ("chan chan2", "--channels"),
    ("all_channels", "--channels"),
    ("model_name_out", "--output"),
    ("img_filter mask_filter file_list", "images/ and labels/, or NAME.tif and NAME_masks.tif"),
    ("save_every save_each", "not needed, the best and the last epoch are kept"),
    ("weight_decay SGD", "not needed, the optimiser is AdamW"),
    ("nimg_test_per_epoch train_size", "--holdout-every"),
    ("min_train_masks", "--exclude"),
    ("train verbose", "not needed, the command is for nothing else"),
)
"""Options of `terapose train`, as one writes them."""

COMMANDS = (
    *_of("cellcutter", ("cut_cells", "cut"), ("cut_tiles", "none, any reader of Zarr cuts tiles")),
    *_of("Cellpose", ("cellpose", "segment"), ("gui", "view")),
    *_of("mccellpose", ("mccellpose", "segment")),
    *_of(
        "CellMap's toolbox",
        ("csc", "train, segment, process, evaluate, view, crop or pack, as the next word is"),
        ("predict", "segment"),
        ("visualize", "view"),
        ("pack-results", "pack"),
        ("fetch-data", "crop, which copies a part of a remote image"),
    ),
)
"""Commands."""


def elsewhere(name: str, among: tuple[Other, ...] = PARAMETERS) -> str | None:
    """What to write in place of another program's name, for an error's remedy.

    Parameters
    ----------
    name
        As it was given, in any case, with ``-`` or ``_``.
    among
        Where to look.

    Returns
    -------
    str or None
        A phrase, or None where no program is known to have the name.
    """
    for other in among:
        if plain(name) in map(plain, other.names):
            return f"a name of {other.program}; here: {other.here}"
    return None
