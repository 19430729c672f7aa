//! The `Format` trait, the door to data, and the conformance tests every format passes.
