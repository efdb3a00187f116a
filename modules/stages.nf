// The stages of bin/terapose/pipeline/graph.py (tests/pipeline/test_graph.py): of which a plan has to
// have tables, for which the image is staged, and which of them stubs say that they run.

// Stages that are cut into tasks.
def scattered() {
    return [
        'convert', 'intensities', 'gradients-yx', 'gradients-zx', 'gradients-zy', 'combine', 'follow', 'peaks',
        'masks', 'flow_errors', 'overlaps', 'cell_holes', 'process_cells', 'cell_overlaps', 'export', 'measure', 'outlines',
    ]
}

// Stages with a single task.
def gathers() {
    return ['percentiles', 'seeds', 'objects', 'filter_planes', 'stitch', 'relabel', 'match', 'finish']
}

// Stages of both kinds that read the image.
def reading() {
    return ['convert', 'intensities', 'percentiles', 'gradients-yx', 'gradients-zx', 'gradients-zy', 'process_cells', 'measure', 'finish']
}

// Stages before the plan, and after the results.
def around() {
    return ['simulate', 'check', 'fetch', 'publish', 'verify', 'picture', 'evaluate', 'report', 'reports', 'attach']
}
