//! Cargo: the sparse index, downloads, publish, yank, search.
