//! Transfers are written, carried, damaged in every way we could think of, mended and read.

mod damage;
mod door;
mod made;
mod media;
mod order;
mod refused;
mod stash;
mod whole;
