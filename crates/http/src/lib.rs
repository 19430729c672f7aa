//! The edge: routes, authentication, errors to status codes, git, registries, runner API.
