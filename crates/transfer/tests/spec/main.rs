//! The specification, held to the code: its tables, its vectors, its second verifier, its README.

mod agree;
mod made;
mod mutants;
mod parity;
mod recover;
mod tables;
mod tools;
mod vectors;
