//! Takes a job, runs it in a sandbox, streams its log, returns its artifacts.
