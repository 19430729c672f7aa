//! The Merkle audit log: append, checkpoints, proofs, verify.
