"""The commands of `hard`, one module a group; `hard.cli` puts them together.

    init         init (its talk is in `dialogue`)
    recordings   replay, inspect
    evaluation   evaluate
    live         run, record
    daemon       status, label, calibrate: what is asked of the running daemon
    events       events, events redeliver
    models       models list, verify, install, set
    state        forget, backup, restore
    setup        check, doctor, sources scan, plugins, schema
    trial        simulate, bench

They share `options` (what is given on the command line), `terminal` (errors, interrupts, progress),
`configured` (the configuration that is meant, and its models) and `reading` (the recordings that
are meant).  Only wiring: arguments to calls, results to stdout, everything else to stderr.  Heavy
imports stay inside the functions, so that `hard --help` answers at once.
"""
