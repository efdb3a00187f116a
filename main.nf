#!/usr/bin/env nextflow

include { expect_samples ; numbers_in ; say_end } from './modules/failures'
include { help_text } from './modules/help'
include { hold } from './modules/lock'
include { LOOK } from './modules/phases/look'
include { SIMULATE } from './modules/processes/simulate'
include { note_end ; note_of_end ; refuse_unlinkable ; remove_note ; remove_reports ; remove_stale } from './modules/outdir'
include { SEGMENT ; SEGMENT as SEGMENT_CELLS } from './modules/segment'
include { any_second ; check_parameters ; checked_outdir ; named_images ; run_parameters ; simulating ; source } from './modules/sources'

workflow {
    main:
    if (params.help) {
        println(help_text())
        System.exit(0)
    }
    check_parameters()
    given = run_parameters()
    named = named_images(given)
    expect_samples(given, named)
    images = channel.fromList(named)
    reference = channel.empty()
    if (simulating()) {
        SIMULATE(params.simulate)
        images = images.mix(SIMULATE.out.map { image, _labels -> tuple('nuclei', image.toUriString(), [:]) })
        reference = SIMULATE.out.map { _image, labels -> tuple('nuclei', labels) }
    }
    params_file = channel
        .of(groovy.json.JsonOutput.toJson(given))
        .collectFile(name: 'params.json')
        .first()

    notes = Collections.synchronizedList([])
    cells = channel.empty()
    if (any_second(given, named)) {
        // what the second network finds goes to no folder of results, but to the nuclei
        cell_sources = images.map { name, address, own -> source(name, address, own, given, true) }
        SEGMENT_CELLS(cell_sources, params_file, '', channel.empty(), true)
        cells = SEGMENT_CELLS.out.cells
        SEGMENT_CELLS.out.notes.subscribe { note -> notes.add("cells of the second network: ${note}".toString()) }
    }
    outdir = checked_outdir()
    refuse_unlinkable(outdir)
    release = hold(outdir)
    if (outdir) {
        note_of_end(outdir).delete()
        remove_reports(outdir)
    }
    sources = images.map { name, address, own -> source(name, address, own, given, false) }
    SEGMENT(sources, params_file, outdir, cells, false)
    SEGMENT.out.stale.subscribe { name, files -> remove_stale(outdir, name, files) }
    LOOK(SEGMENT.out.results, reference)

    finished = Collections.synchronizedMap([:])
    SEGMENT.out.cells.subscribe { name, _labels, record -> finished.put(name, numbers_in(record)) }
    SEGMENT.out.notes.subscribe { note -> notes.add(note) }
    workflow.onComplete = {
        if (workflow.success && outdir) {
            finished.each { name, _numbers -> remove_note(outdir, name) }
            // whatever was ignored is a sample that failed
            if (finished && !workflow.stats.ignoredCount) {
                note_end(outdir, finished.keySet())
            }
        }
        release.call()
        say_end(outdir, finished, notes)
    }
}
