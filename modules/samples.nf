// What `input` names: images, and what to call them.

// An image's name without what tells its format.
def sample_name(address) {
    return address.tokenize('/').last().replaceFirst(/(?i)(\.ome)?\.(zarr|tiff?|btf|qptiff|h5|hdf5)$/, '')
}

// The folder of a sample's results in outdir: its own, or where a project of MCMICRO has its masks.
def folder_of(name) {
    return params.publish_layout == 'mcmicro' ? "segmentation/terapose-${name}" : name
}

// [sample, address, file to stage]: local images are staged, so that containers can see them.
def sample(name, address) {
    def is_url = address.contains('://')
    def image = is_url ? [] : file(address, checkIfExists: false)
    return tuple(name, is_url ? address : image.toString(), is_url || !image.exists() ? [] : image)
}

// [sample, address, parameters of its own] of each image the input names: an image, all that a glob
// matches, or those of a samplesheet, whose further columns are parameters of the line's sample. An
// empty cell says nothing; CHECK says what is wrong with the others.
def listed(input) {
    if (!input) {
        refuse('input: nothing given, allowed: an image, a glob or a samplesheet (CSV)')
    }
    def is_sheet = input.toString().endsWith('.csv')
    if (is_sheet && !file(input).exists()) {
        refuse("${input}: there is no such samplesheet; check the path")
    }
    def found = is_sheet
        ? file(input).splitCsv(header: true, strip: true, quote: '"').collect { row -> line(row) }
        : files_of(input.toString()).collect { address -> [sample_name(address), address, [:]] }
    if (!found) {
        refuse("${input}: names no image; check the pattern or the samplesheet")
    }
    if (found.any { name, address, _own -> !name || !address }) {
        refuse("${input}: a line lacks sample or image; allowed: columns sample,image, filled")
    }
    def strange = found.findAll { name, address, _own -> name =~ /['\/\\]/ || address.contains("'") }
    if (strange) {
        refuse("${input}: no name for a sample; got ${strange[0]}; allowed: no quotes, no slash in sample")
    }
    def names = found.collect { name, _address, _own -> name }
    def doubled = names.findAll { name -> names.count(name) > 1 }.unique()
    if (doubled) {
        refuse("${input}: samples of one name; got ${doubled.join(', ')}; name each in a samplesheet")
    }
    return found
}

// A line of a samplesheet.
def line(row) {
    def own = row.findAll { name, value -> !(name in ['sample', 'image']) && value }
    return [row.sample, row.image, own]
}

// Stop with one sentence.
def refuse(sentence) {
    error("terapose: ${sentence}")
}

// The images an input names: one, or all that a glob matches.
def files_of(input) {
    if (!(input =~ /[*?{]/) || input.contains('://')) {
        return [input]
    }
    return files(input, type: 'any').collect { path -> path.toString() }.toSorted()
}
