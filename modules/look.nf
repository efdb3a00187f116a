// Results to look at: a picture of each sample, and scores where there is a reference.

include { CUT } from './cut/main'
include { EVALUATE } from './evaluate/main'
include { PICTURE } from './picture/main'

workflow LOOK {
    take:
    results // [sample, labels.zarr, provenance.json]
    thumbnails // [sample, labels.zarr, table of cells, words] of samples that want them
    samples // [sample, address of the image, image to stage or []]
    reference // [sample, reference labels]

    main:
    PICTURE(results.join(samples))
    CUT(thumbnails.join(samples))
    EVALUATE(results.map { sample, labels, _record -> tuple(sample, labels) }.join(reference))
}
