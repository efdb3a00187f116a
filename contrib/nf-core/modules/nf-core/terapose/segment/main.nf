process TERAPOSE_SEGMENT {
    tag "${meta.id}"
    label 'process_high'
    label 'process_gpu'

    // neither a Bioconda package nor a published image of Terapose exists yet: see README.md
    conda "${moduleDir}/environment.yml"
    container "terapose:0.1.0"

    input:
    tuple val(meta), path(image)
    path model

    output:
    tuple val(meta), path("*_mask.ome.tif"), emit: mask
    tuple val(meta), path("*_{nucleus,cytoplasm}.ome.tif"), emit: compartments, optional: true
    tuple val(meta), path("*_cells.csv"), emit: cells, optional: true
    tuple val(meta), path("*_cells.h5ad"), emit: h5ad, optional: true
    tuple val(meta), path("*_labels.zarr"), emit: labels
    tuple val(meta), path("*_provenance.json"), emit: provenance
    tuple val("${task.process}"), val('terapose'), eval("terapose --version | sed 's/.* //'"), topic: versions, emit: versions_terapose

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    def prefix = task.ext.prefix ?: "${meta.id}"
    def network = model ? "--model ${model}" : ''
    def gpu = task.accelerator ? '--use-gpu' : ''
    """
    # a container may run as a user without a home
    export NUMBA_CACHE_DIR="\${NUMBA_CACHE_DIR:-\$PWD/.cache/numba}"
    export MPLCONFIGDIR="\${MPLCONFIGDIR:-\$PWD/.cache/matplotlib}"

    terapose segment \\
        ${image} \\
        results \\
        --mask-tiff mask.ome.tif \\
        --table csv \\
        --keep-intermediates none \\
        --jobs ${task.cpus} \\
        ${network} \\
        ${gpu} \\
        ${args}

    for file in results/*; do
        mv "\$file" "${prefix}_\${file##*/}"
    done
    """

    stub:
    def prefix = task.ext.prefix ?: "${meta.id}"
    """
    touch ${prefix}_mask.ome.tif
    touch ${prefix}_cells.csv
    touch ${prefix}_provenance.json
    mkdir ${prefix}_labels.zarr
    touch ${prefix}_labels.zarr/zarr.json
    """
}
