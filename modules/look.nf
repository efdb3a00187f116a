// Results to look at: a picture of each sample, and scores where there is a reference.

include { EVALUATE } from './evaluate/main'
include { PICTURE } from './picture/main'

workflow LOOK {
    take:
    labels // [sample, labels.zarr]
    samples // [sample, address of the image, image to stage or []]
    levels // [sample, level of its pyramid]
    reference // [sample, reference labels]

    main:
    PICTURE(labels.join(samples).join(levels))
    EVALUATE(labels.join(reference))
}
