//! The transfer format: plan, write, verify, read. Files only: no database.
