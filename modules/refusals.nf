// What ends a run before anything is done, with one sentence.

// Stop with one sentence.
def refuse(sentence) {
    error("terapose: ${sentence}")
}

// Stop where a text has line breaks or other control characters: they go through no table or log.
def refuse_control(what, text) {
    if (text.toString() =~ /\p{Cntrl}/) {
        refuse("${what}: got ${text.toString().inspect()}, allowed: no control characters")
    }
}

// Stop where Nextflow itself would give a folder to the shell unquoted.
def refuse_folder(what, folder, strange) {
    refuse_control(what, folder)
    def found = folder.toString().findAll(strange).unique()
    if (found) {
        refuse("${what}: ${folder} cannot be used by Nextflow; got ${found.join(' ')} in its path; rename a folder")
    }
}
