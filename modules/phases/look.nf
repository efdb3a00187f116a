// What is done with results: a picture of each sample, scores where there is a reference, reports, and
// labels in the image itself.

include { file_of } from '../outdir'
include { faults_of ; lines_of ; together } from '../packs'
include { ATTACH } from '../processes/attach'
include { EVALUATE } from '../processes/evaluate'
include { PICTURE } from '../processes/picture'
include { REFUSE } from '../processes/refuse'
include { REPORT } from '../processes/report'
include { REPORTS } from '../processes/reports'
include { quoted } from '../shell'
include { asking } from '../tasks'

workflow LOOK {
    take:
    results // [sample, run, files of the results], once these are whole
    reference // [sample, reference labels]

    main:
    PICTURE(together(asking(results, 'picture')).map { pack -> drawing(pack) })
    REFUSE(PICTURE.out.flatMap { jobs, pictures, faults, complete -> faults_of(jobs, pictures, faults, complete) })
    EVALUATE(
        asking(results, 'evaluate')
            .map { sample, run, files -> tuple(sample, file_of(files, 'labels.zarr'), run.words.evaluate) }
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

// What PICTURE takes of samples: [sample, run, files of the results] of each.
def drawing(results) {
    def runs = results.collect { _sample, run, _files -> run }
    def files = { name -> results.collect { _sample, _run, all -> file_of(all, name) } }
    return tuple(
        runs.collect { run -> [sample: run.sample, args: run.words.picture] },
        lines_of(runs.collect { run -> "picture ${quoted(run.address)} labels.zarr picture.png" }),
        files.call('labels.zarr'),
        files.call('provenance.json'),
        runs.collectMany { run -> run.image }.unique()
    )
}
