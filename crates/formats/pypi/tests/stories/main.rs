//! Stories of Python packages: published, read, recorded from an upstream, admitted from a
//! transfer, with everything that can be wrong on the way.

mod admitting;
mod attesting;
mod bytes;
mod faults;
mod publishing;
mod reading;
mod recording;
