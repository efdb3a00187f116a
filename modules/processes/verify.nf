include { quoted } from '../shell'

// Compares results that are not published, those of a second network, with their checksums. Never
// cached: what was laid out by an earlier run may have been damaged since.
process VERIFY {
    tag "${sample}"
    label 'small'
    cache false

    input:
    tuple val(sample), val(store), path(plan), path(before), path(results, stageAs: 'laid/*')

    output:
    val sample

    script:
    """
    terapose.py --threads ${task.cpus} verify laid --store ${quoted(store)} --plan ${plan} --before ${before}
    """

    stub:
    """
    true
    """
}
