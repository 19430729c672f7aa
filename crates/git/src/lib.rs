//! Git hosting over the git binary.
