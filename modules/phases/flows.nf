// From the network's flows to objects: where flows end there is a seed, and what ends there is one.

include {
    BLOCKS as COMBINE ;
    BLOCKS as FLOW_ERRORS ;
    BLOCKS as FOLLOW ;
    BLOCKS as MASKS ;
    BLOCKS as PEAKS
} from '../processes/blocks'
include { DECIDE as OBJECTS ; DECIDE as SEEDS } from '../processes/decide'
include {
    GATHER as GATHER_COMBINE ;
    GATHER as GATHER_FLOW_ERRORS ;
    GATHER as GATHER_FOLLOW
} from '../processes/gather'
include { after ; blocks ; decision ; gathering ; receipts } from '../tasks'

workflow FLOWS {
    take:
    runs
    summed // [sample, summary] of the network's passes

    main:
    COMBINE(blocks(runs, 'combine', summed))
    GATHER_COMBINE(gathering(runs, 'combine', summed, COMBINE.out))
    FOLLOW(blocks(runs, 'follow', GATHER_COMBINE.out))
    GATHER_FOLLOW(gathering(runs, 'follow', GATHER_COMBINE.out, FOLLOW.out))

    PEAKS(blocks(runs, 'peaks', GATHER_FOLLOW.out))
    SEEDS(decision(runs, 'seeds', GATHER_FOLLOW.out, receipts(runs, 'peaks', PEAKS.out)))
    MASKS(blocks(runs, 'masks', SEEDS.out))
    OBJECTS(decision(runs, 'objects', SEEDS.out, receipts(runs, 'masks', MASKS.out)))

    // errors of flows cost time, so they are found only where a threshold asks for them
    FLOW_ERRORS(blocks(runs, 'flow_errors', OBJECTS.out))
    GATHER_FLOW_ERRORS(gathering(runs, 'flow_errors', OBJECTS.out, FLOW_ERRORS.out))
    found = after(runs, 'flow_errors', OBJECTS.out, GATHER_FLOW_ERRORS.out)

    emit:
    found
}
