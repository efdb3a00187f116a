// Results to look at: a picture of each sample, and scores where there is a reference.

include { EVALUATE } from '../processes/evaluate'
include { PICTURE } from '../processes/picture'
include { asking } from '../tasks'

workflow LOOK {
    take:
    results // [sample, run, files of the results], once these are whole
    reference // [sample, reference labels]

    main:
    PICTURE(
        asking(results, 'picture').map { sample, run, files ->
            tuple(sample, named(files, 'labels.zarr'), named(files, 'provenance.json'), run.address, run.image, run.words.picture)
        }
    )
    EVALUATE(
        asking(results, 'evaluate')
            .map { sample, run, files -> tuple(sample, named(files, 'labels.zarr'), run.words.evaluate) }
            .join(reference)
    )
}

// The file of a name.
def named(files, name) {
    return files.find { one -> one.name == name }
}
