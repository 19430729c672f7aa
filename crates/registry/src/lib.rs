//! Repositories, generations, the one commit gate, groups.
