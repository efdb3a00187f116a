// The folder of results, and those of samples in it.

// The folder of a sample's results in outdir: its own, or where a project of MCMICRO has its masks.
def folder_of(name) {
    return params.publish_layout == 'mcmicro' ? "segmentation/terapose-${name}" : name
}

// Remove the note that says what is being copied to a sample's folder (bin/terapose/results/earlier.py): the
// record is there by now.
def remove_note(outdir, name) {
    file("${outdir}/${folder_of(name)}", glob: false).resolve('.provenance.going.json').delete()
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
