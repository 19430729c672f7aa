//! PyPI: the simple API, metadata, uploads.
