//! The version order of every ecosystem.
