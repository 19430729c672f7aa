//! Projects, pushes, pipelines, jobs, logs and artifacts.
