// What `nextflow run . --help` prints.

// The parameters of the run, by group, as nextflow_schema.json describes them.
def help_text() {
    def schema = new groovy.json.JsonSlurper().parse(file("${moduleDir}/../nextflow_schema.json"))
    def groups = schema['$defs'].collect { _key, group -> "${group.title}\n${lines_of(group.properties)}" }
    return """Usage: nextflow run . --input IMAGE --outdir FOLDER [-params-file params.json] [-profile NAMES]

${groups.join('\n\n')}

docs/parameters.md has the same as a table; profiles are in docs/hpc.md."""
}

// A line for each parameter, and what it does below.
def lines_of(properties) {
    return properties.collect { name, about ->
        def kind = about['enum'] ? about['enum'].join(' | ') : [about.type].flatten().join(' or ')
        def usual = about.containsKey('default') ? "  [default: ${[about.default].flatten().join(',')}]" : ''
        "  --${name}  ${kind}${usual}\n      ${about.description}"
    }.join('\n')
}
