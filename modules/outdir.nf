// The folder of results, and those of samples in it.

include { existing ; partial_name } from './paths'
include { refuse } from './refusals'

// The folder of a sample's results in outdir: its own, or where a project of MCMICRO has its masks.
def folder_of(name) {
    return params.publish_layout == 'mcmicro' ? "segmentation/terapose-${name}" : name
}

// The file of a name among those of a sample's results.
def file_of(files, name) {
    return files.find { one -> one.name == name }
}

// Remove the note that says what is being copied to a sample's folder (bin/terapose/results/earlier.py): the
// record is there by now.
def remove_note(outdir, name) {
    file("${outdir}/${folder_of(name)}", glob: false).resolve('.provenance.going.json').delete()
}

// Remove the page of all samples of an earlier run, and its numbers: this one makes another, or none. What
// is no report (bin/terapose/results/report/own.py) stays, and no page takes its place.
def remove_reports(outdir) {
    def signs = [
        'report.html': 'name="generator" content="Terapose ',
        'report.json': '{\n "format": ',
        'report_mqc.json': '{\n "id": "terapose"',
    ]
    signs.each { name, sign ->
        def path = file(outdir, glob: false).resolve(name)
        if (path.isFile() && path.withInputStream { stream -> new String(stream.readNBytes(400), 'UTF-8') }.contains(sign)) {
            path.delete()
        }
    }
}

// The note that all samples of a run are finished: then `terapose clean` removes the folders of its tasks
// (bin/terapose/api/finished_tasks.py). The next run into the folder removes it before its first task.
def note_of_end(outdir) {
    return file("${outdir}/pipeline_info", glob: false).resolve('finished.json')
}

// Write that note, with the names of the samples.
def note_end(outdir, samples) {
    def note = note_of_end(outdir)
    note.parent.mkdirs()
    note.text = groovy.json.JsonOutput.toJson([
        run: workflow.runName,
        session: "${workflow.sessionId}",
        work: workflow.workDir.toUriString(),
        ended: System.currentTimeMillis() / 1000,
        samples: samples.collect { name -> folder_of(name) },
    ]) + '\n'
}

// Remove results of an earlier run from a sample's folder, and say so. They may be links: not what
// these lead to.
def remove_stale(outdir, name, files) {
    def folder = file("${outdir}/${folder_of(name)}", glob: false)
    def paths = files.collect { one -> folder.resolve(one) }
    paths.each { path ->
        if (path.isDirectory() && !java.nio.file.Files.isSymbolicLink(path)) {
            path.deleteDir()
        }
        else {
            path.delete()
        }
    }
    println("${folder}: removed files of an earlier run that this one does not write: ${files.join(', ')}")
}

// Stop where results should be hard links and cannot be: on another file system than the work folder, or on one
// without them. Nextflow would notice when all work is done. Of a folder that cannot be written to CHECK says why.
def refuse_unlinkable(outdir) {
    def folder = outdir && params.publish_mode.toString() == 'link' ? existing(file(outdir, glob: false)) : null
    if (folder && [folder, workflow.workDir].every { place -> place.toUri().scheme == 'file' } && folder.isDirectory() && folder.toFile().canWrite()) {
        def name = partial_name()
        def fault = fault_of_link(workflow.workDir.resolve(name), folder.resolve(name))
        if (fault) {
            refuse("publish_mode: got link, but there can be no hard links in ${outdir} to files in ${workflow.workDir} (${fault}); choose a work folder on the same disk (-work-dir), or copy or move, which also work between disks")
        }
    }
}

// Why a file cannot have another name as a hard link; nothing if it can. Neither stays.
def fault_of_link(path, other) {
    java.nio.file.Files.createFile(path)
    def fault = ''
    try {
        java.nio.file.Files.createLink(other, path)
        java.nio.file.Files.delete(other)
    }
    catch (java.nio.file.FileSystemException said) {
        fault = said.reason ?: said.class.simpleName
    }
    catch (UnsupportedOperationException said) {
        fault = said.message ?: said.class.simpleName
    }
    java.nio.file.Files.delete(path)
    return fault
}
