// Results to look at: a picture of each sample, and scores where there is a reference.

include { EVALUATE } from './evaluate/main'
include { PICTURE } from './picture/main'

workflow LOOK {
    take:
    results // [sample, labels.zarr, provenance.json]
    samples // [sample, address of the image, image to stage or []]
    reference // [sample, reference labels]

    main:
    PICTURE(results.join(samples))
    EVALUATE(results.map { sample, labels, _record -> tuple(sample, labels) }.join(reference))
}
