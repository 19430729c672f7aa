//! Content-addressed bytes on local disk.
