// What is done with results: a picture of each sample, scores where there is a reference, reports, and
// labels in the image itself.

include { ATTACH } from '../processes/attach'
include { EVALUATE } from '../processes/evaluate'
include { PICTURE } from '../processes/picture'
include { REPORT } from '../processes/report'
include { REPORTS } from '../processes/reports'
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
    REPORT(
        asking(results, 'report').map { sample, run, files -> tuple(sample, files, run.address, run.image, run.words.report) }
    )
    numbers = REPORT.out
        .map { sample, _page, numbers, _table -> tuple(sample, numbers) }
        .toSortedList { one, other -> one[0] <=> other[0] }
        .filter { all -> all }
        .map { all -> all.collect { _sample, numbers -> numbers } }
    REPORTS(numbers, asking(results, 'reports').map { _sample, run, _files -> run.words.reports }.first())
    ATTACH(asking(results, 'attach').map { sample, run, files -> tuple(sample, files, run.image, run.words.attach) })
}

// The file of a name.
def named(files, name) {
    return files.find { one -> one.name == name }
}
