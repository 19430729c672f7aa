//! Pages and assets.
