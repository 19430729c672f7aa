//! The project's own tasks: tidy, test, bench, dist.

fn main() {}
