// Results to look at: a picture of each sample, and scores where there is a reference.

include { EVALUATE } from '../processes/evaluate'
include { PICTURE } from '../processes/picture'

workflow LOOK {
    take:
    results // [sample, labels.zarr, provenance.json]
    images // [sample, address of the image, image to stage or [], code of what looks at results]
    reference // [sample, reference labels]

    main:
    PICTURE(results.join(images))
    EVALUATE(
        results
            .join(images)
            .map { sample, labels, _record, _address, _image, code -> tuple(sample, labels, code) }
            .join(reference)
    )
}
