// One run at a time in the folder of results: the same file that bin/terapose/lock.py keeps there.

include { as_path } from './paths'
include { refuse } from './shell'

// Hold a folder until the run is over; returns what ends it. There is nothing to hold in an object
// store, and of a folder that cannot be written to CHECK says why.
def hold(outdir) {
    def folder = outdir ? as_path(outdir).toFile() : null
    folder?.mkdirs()
    if (!folder?.isDirectory() || !folder.canWrite()) {
        return { -> }
    }
    def file = folder.toPath().resolve('.terapose.lock')
    if (file.exists() && !is_gone(file)) {
        def holder = said(file)
        refuse("${folder}: another run is writing here; got process ${holder.process} on ${holder.host}, since ${holder.since}; wait for it, or choose another folder (if it is gone, remove ${file.name})")
    }
    file.delete()
    def me = [
        host: host(),
        process: ProcessHandle.current().pid(),
        started: started(ProcessHandle.current().pid()),
        since: new Date().format('yyyy-MM-dd HH:mm:ss'),
    ]
    try {
        java.nio.file.Files.writeString(file, groovy.json.JsonOutput.toJson(me), java.nio.file.StandardOpenOption.CREATE_NEW)
    }
    catch (java.nio.file.FileAlreadyExistsException _fault) {
        refuse("${folder}: another run has just begun to write here; wait for it, or choose another folder")
    }
    def timer = new Timer(true)
    timer.schedule({ -> file.setLastModified(System.currentTimeMillis()) } as TimerTask, 20000, 20000)
    return { ->
        timer.cancel()
        file.delete()
    }
}

def said(file) {
    try {
        return new groovy.json.JsonSlurper().parseText(file.text)
    }
    catch (Exception _fault) {
        return [:]
    }
}

def host() {
    def name = new File('/proc/sys/kernel/hostname')
    return name.exists() ? name.text.trim() : InetAddress.localHost.hostName
}

// When a process of this machine started; null where there is none of this number.
def started(process) {
    def stat = new File("/proc/${process}/stat")
    return stat.exists() ? stat.text.tokenize(')').last().tokenize()[19] : null
}

// Whether the run that holds a folder is gone.
def is_gone(file) {
    def holder = said(file)
    if (holder.host == host() && holder.process) {
        return started(holder.process) != holder.started
    }
    return System.currentTimeMillis() - file.lastModified() > 180000
}
