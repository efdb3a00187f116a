// The stages of bin/terapose/pipeline/graph.py (tests/pipeline/test_graph.py): what stubs say of them, and
// of which a plan has tables.

// Stages that are cut into tasks.
def scattered() {
    return [
        'convert', 'intensities', 'gradients-yx', 'gradients-zx', 'gradients-zy', 'combine', 'follow', 'peaks',
        'masks', 'flow_errors', 'overlaps', 'cell_holes', 'cell_overlaps', 'export', 'measure', 'outlines',
    ]
}

// Stages with a single task.
def gathers() {
    return ['percentiles', 'seeds', 'objects', 'filter_planes', 'stitch', 'relabel', 'match', 'finish']
}
