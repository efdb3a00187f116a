// What is done with results: a picture of each sample, scores where there is a reference, and labels in
// the image itself.

include { ATTACH } from '../processes/attach'
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
    ATTACH(asking(results, 'attach').map { sample, run, files -> tuple(sample, files, run.image, run.words.attach) })
}

// The file of a name.
def named(files, name) {
    return files.find { one -> one.name == name }
}
