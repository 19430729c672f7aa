//! The only code that dials out; exists only in the connected role.
