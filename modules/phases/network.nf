// From the image to the sum of the network's flows and probabilities, on the network's own grid.

include { BLOCKS as CONVERT ; BLOCKS as INTENSITIES } from '../processes/blocks'
include { DECIDE as PERCENTILES } from '../processes/decide'
include {
    GATHER as GATHER_CONVERT ;
    GATHER as GATHER_YX ;
    GATHER as GATHER_ZX ;
    GATHER as GATHER_ZY
} from '../processes/gather'
include {
    GRADIENTS as GRADIENTS_YX ;
    GRADIENTS as GRADIENTS_ZX ;
    GRADIENTS as GRADIENTS_ZY
} from '../processes/gradients'
include { after ; blocks ; decision ; gathering ; nothing ; passes ; receipts } from '../tasks'

workflow NETWORK {
    take:
    runs

    main:
    none = nothing(runs)

    // an image that cannot be read by region is copied into the store first
    CONVERT(blocks(runs, 'convert', none))
    GATHER_CONVERT(gathering(runs, 'convert', none, CONVERT.out))
    converted = after(runs, 'convert', none, GATHER_CONVERT.out)

    INTENSITIES(blocks(runs, 'intensities', converted))
    PERCENTILES(decision(runs, 'percentiles', converted, receipts(runs, 'intensities', INTENSITIES.out)))

    // each pass adds to the sum of the one before, so it waits for all of it; planes that stand by
    // themselves have the first one only
    GRADIENTS_YX(passes(runs, 'gradients-yx', PERCENTILES.out))
    GATHER_YX(gathering(runs, 'gradients-yx', PERCENTILES.out, GRADIENTS_YX.out))
    GRADIENTS_ZX(passes(runs, 'gradients-zx', GATHER_YX.out))
    GATHER_ZX(gathering(runs, 'gradients-zx', GATHER_YX.out, GRADIENTS_ZX.out))
    GRADIENTS_ZY(passes(runs, 'gradients-zy', GATHER_ZX.out))
    GATHER_ZY(gathering(runs, 'gradients-zy', GATHER_ZX.out, GRADIENTS_ZY.out))
    summed = after(runs, 'gradients-zy', GATHER_YX.out, GATHER_ZY.out)

    emit:
    summed
}
