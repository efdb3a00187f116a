include { one_by_one ; place_of ; tag_of } from '../packs'

// The outlines of the cells on the image, in three sections. The record, beside the labels, tells
// which channel and level were segmented. The words of the commands come on standard input ('-'): an
// address may hold credentials, and Nextflow shows scripts in its reports and logs. It is copied
// even where other results are moved, for -resume looks for it.
process PICTURE {
    tag "${tag_of(jobs)}"
    label 'small'
    publishDir { "${params.outdir}" }, mode: params.publish_mode == 'move' ? 'copy' : params.publish_mode, overwrite: true, saveAs: { name -> place_of(jobs, name) }

    input:
    tuple val(jobs), '-', path(labels, stageAs: 'labels*/*'), path(records, stageAs: 'record*/*'), path(image, stageAs: 'image*/*')

    output:
    tuple val(jobs), path('out*/picture.png', arity: '0..*'), path('out*/fault', arity: '0..*'), path('complete')

    script:
    """
    for n in {1..${jobs.size()}}; do
        mkdir -p out\$n
        ln -sfn "\$PWD"/{labels\$n,record\$n}/* out\$n
    done
    ${one_by_one(task)}
    touch complete
    """

    stub:
    """
    for n in {1..${jobs.size()}}; do
        mkdir -p out\$n
        touch out\$n/picture.png
    done
    touch complete
    """
}
