//! The database: SQLite and PostgreSQL behind one SQL text, one transaction object, one job queue.
