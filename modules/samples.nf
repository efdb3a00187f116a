// What `input` names: images, and what to call them.

include { as_path ; in_order ; is_pattern ; is_url ; matching ; reachable ; staged } from './paths'
include { folder_of } from './outdir'
include { beside as beside_image ; networks ; read_once } from './settings'
include { refuse ; refuse_control ; shown } from './refusals'
include { sheet_rows } from './sheet'

// Parameters that steer the workflow itself; all others go to `terapose check` as they are.
def own_parameters() {
    return ['container', 'help', 'input', 'outdir', 'publish_layout', 'publish_mode', 'simulate', 'single_task']
}

// Parameters that may be files.
def file_parameters() {
    return networks() + beside_image() + read_once()
}

// Suffixes of the files that are images.
def suffixes() {
    return file("${moduleDir}/../assets/image-suffixes.txt", glob: false).readLines()
}

// An image's name without what tells its format; of a pattern, what comes before its first wildcard.
def sample_name(address, pattern) {
    def known = suffixes().collect { suffix -> java.util.regex.Pattern.quote(suffix) }.join('|')
    def (folder, last) = (['', ''] + address.tokenize('/')).takeRight(2)
    def name = pattern ? last.replaceFirst(/[*?\[{].*/, '') : last
    def plain = name.replaceFirst("(?i)((\\.ome)?(${known}))+\$", '')
    return pattern ? plain.replaceFirst(/[-_. ]+$/, '') ?: folder : plain
}

// An image's address, and its files to stage: local images are staged, so that containers can see
// them. Of a pattern one file stands for the folder that all of them are in.
def located_image(address) {
    if (is_url(address)) {
        return [address: address, image: []]
    }
    def path = reachable(as_path(address))
    def files = is_pattern(path) ? matching(path).take(1) : [path]
    return [address: path.toString(), image: files.collectMany { one -> staged(one) }]
}

// [sample, address, parameters of its own] of each image the input names: an image, those in a
// folder, all that a pattern matches, or those of a samplesheet, whose further columns are
// parameters of the line's sample. CHECK says what is wrong with these. With `stack` a folder or a
// pattern is one image.
def listed(input, stack) {
    if (!input) {
        refuse('input: nothing given, allowed: an image, a folder, a pattern in quotes or a samplesheet')
    }
    refuse_control('input', input)
    if (input ==~ /(?i).*\.(xlsx?|ods)/) {
        refuse("${input}: is a workbook; save the sheet as CSV in UTF-8")
    }
    def found = input ==~ /(?i).*\.(csv|tsv|txt)/
        ? from_sheet(as_path(input), stack)
        : addresses_of(input, stack).collect { address -> named(address, [:]) }
    if (!found) {
        refuse("${input}: names no image; check the pattern or the samplesheet")
    }
    found.each { name, address, _own ->
        refuse_control(input, address)
        refuse_name(name, address)
    }
    def counts = found.countBy { name, _address, _own -> as_folder(name) }
    // not `unique`, which compares each with all others
    def doubled = found.collect { name, _address, _own -> name }.findAll { name -> counts[as_folder(name)] > 1 } as LinkedHashSet
    if (doubled) {
        refuse("${input}: several samples have the same name; got ${shown(doubled.join(', '))}; name each in a samplesheet")
    }
    return found
}

// A name as file systems compare it that ignore case, and how letters are composed.
def as_folder(name) {
    return java.text.Normalizer.normalize(name, java.text.Normalizer.Form.NFC).toLowerCase(Locale.ROOT)
}

def named(address, own) {
    return [sample_name(address, !is_url(address) && is_pattern(as_path(address))), address, own]
}

// Stop where samples have names of time points of another one: their results would be one folder. How
// many time points there are is not looked up.
def refuse_doubled(found, time) {
    def every = found
        .findAll { _name, _address, own -> (own.time ?: time) == 'all' }
        .collect { name, _address, _own -> name } as Set
    def doubled = found
        .collect { name, _address, _own -> name }
        .findAll { name -> !(name in every) && name ==~ /(?s).*-t\d{3,}/ && name.replaceFirst(/-t\d{3,}$/, '') in every }
    if (doubled) {
        refuse("input: several samples have the same name; got ${shown(doubled.join(', '))}; with time all, NAME-t001 and so on are time points of NAME: give other names in a samplesheet")
    }
}

// Addresses of the images that a folder holds or a pattern matches.
def addresses_of(input, stack) {
    if (is_url(input)) {
        return [input]
    }
    def path = as_path(input)
    if (!stack && path.isDirectory() && !is_store(path)) {
        return images_in(path).collect { one -> one.toString() }
    }
    return !stack && is_pattern(path) ? matching(path).collect { one -> one.toString() } : [path.toString()]
}

// Files of which a folder that is an image has at least one.
def marks() {
    return ['zarr.json', '.zgroup', '.zarray', '.zattrs', 'attributes.json', 'NDTiff.index']
}

// Whether a folder is itself an image, or lies in one.
def is_store(folder) {
    return folder.toString() ==~ /(?i).*\.(zarr|n5)(\/.*)?/ || marks().any { mark -> folder.resolve(mark).exists() }
}

// The images in a folder; says what else is in it.
def images_in(folder) {
    def inside = matching(folder.resolve('*'))
    def known = suffixes()
    def images = inside.findAll { path ->
        path.isDirectory() ? is_store(path) : known.any { suffix -> path.name.toLowerCase().endsWith(suffix) }
    }
    def known_images = images as Set
    def others = inside.findAll { path -> !(path in known_images) }.collect { path -> path.name }
    if (!images) {
        def got = others ? "${others.take(3).join(', ')}${others.size() > 3 ? ' ...' : ''}" : 'an empty folder'
        refuse("${folder}: the folder holds no image; got ${got}; allowed: ${known.join(' ')}")
    }
    if (others) {
        println("${folder}: ${images.size()} images; skipped, not images: ${shown(others.join(', '))}")
    }
    return images
}

// The samples of a samplesheet, whose paths are from here or from its own folder.
def from_sheet(path, stack) {
    if (!path.exists()) {
        refuse("${path}: there is no such samplesheet; check the path")
    }
    return sheet_rows(path).collect { number, row ->
        def where = "${path.name}, line ${number}"
        def missing = ['sample', 'image'].findAll { name -> !row[name] }
        if (missing) {
            refuse("${where}: no ${missing.join(' and no ')}; fill in the columns sample and image")
        }
        def steering = row.keySet().intersect(own_parameters())
        if (steering) {
            refuse("${where}: ${steering.join(', ')} cannot differ between samples; give it for the run")
        }
        def own = row
            .findAll { name, _value -> !(name in ['sample', 'image']) }
            .collectEntries { name, value -> [name, name in file_parameters() ? beside(name, value, path.parent) : value] }
        [row.sample, located(row.image, path.parent, is_true(own.stack ?: stack), where), own]
    }
}

// A file that a samplesheet names from its own folder, where there is none from here; of several
// networks each.
def beside(name, value, folder) {
    if (is_url(value)) {
        return value
    }
    def are_several = name in networks() && !folder.resolve(value).exists() && !as_path(value).exists()
    def all = are_several ? value.tokenize(',').collect { one -> one.trim() } : [value]
    return all.collect { one -> one_beside(one, folder, !(name in beside_image())) }.join(',')
}

// A folder of that name is no file, but for a mask of tissue.
def one_beside(value, folder, is_plain) {
    def there = folder.resolve(value)
    def is_there = there.exists() && !(is_plain && there.isDirectory())
    return is_there && !as_path(value).exists() ? there.toString() : value
}

// The address that a line of a samplesheet names.
def located(image, folder, stack, where) {
    if (is_url(image)) {
        return image
    }
    def places = [as_path(image), folder.resolve(image).normalize()]
    def found = places.find { path -> path.exists() }
    if (!found) {
        found = places.find { path -> is_pattern(path) && matching(path) }
        if (found && !stack) {
            refuse("${where}: names several images; got ${image}; allowed: one image, or planes of one with stack true")
        }
    }
    return (found ?: places[0]).toString()
}

// Whether a value of a parameter means yes.
def is_true(value) {
    return value.toString() ==~ /(?i)true|t|yes|y|on|1/
}

// Stop where a sample's name is not plain: it becomes that of a folder.
def refuse_name(name, address) {
    refuse_control(address, name)
    def remedy = 'name it in a samplesheet (columns sample and image)'
    if (!name || name =~ /['"`$\/\\]/ || name.startsWith('.') || name.length() > 200) {
        refuse("${address}: cannot be the name of a sample; got ${name ?: 'no name'}; allowed: no quotes, slashes or \$, no dot in front, no more than 200 characters; ${remedy}")
    }
    def folder = file("${params.outdir}/${folder_of(name)}", glob: false)
    def ours = ['pipeline_info', 'simulated', 'labels.zarr', 'provenance.json']
    if (name in ours || folder == workflow.workDir) {
        refuse("${address}: cannot be the name of a sample; got ${name}, which this program uses itself; ${remedy}")
    }
}
