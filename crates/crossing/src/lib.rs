//! Collect, pack, receive, quarantine, approve, publish.
