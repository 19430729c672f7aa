//! The GitLab Runner protocol's messages.
