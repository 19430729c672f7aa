//! People, roles, tokens and the two-person rule.
