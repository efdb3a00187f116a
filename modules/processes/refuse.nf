include { quoted } from '../shell'

// Ends a sample with a sentence, as a stage does that finds a fault: the other samples are finished.
process REFUSE {
    tag "${sample}"
    label 'small'
    cache false

    input:
    tuple val(sample), val(sentence)

    script:
    """
    printf '%s\\n' ${quoted(sentence)} >&2
    exit 2
    """

    stub:
    """
    printf '%s\\n' ${quoted(sentence)} >&2
    exit 2
    """
}
