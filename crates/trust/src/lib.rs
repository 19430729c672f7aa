//! Keys, DSSE envelopes, in-toto statements and signed notes.
