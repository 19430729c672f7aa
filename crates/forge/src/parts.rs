//! What was planned, in the words of the runner protocol.

use cofferdam_pipeline::PlannedJob;
use cofferdam_runner_api::{Artifact, Cache, Image, Service, Step};
use serde_json::Value;

/// Seconds that `after_script` may run.
const AFTER: u64 = 300;

/// The scripts: what must succeed, and what runs in any case.
pub(crate) fn steps(plan: &PlannedJob, timeout: u64) -> Vec<Step> {
    let step = |name: &str, script: &[String], timeout, when: &str, allow_failure| Step {
        name: name.into(),
        script: script.to_vec(),
        timeout,
        when: when.into(),
        allow_failure,
    };
    let mut steps = vec![step("script", &plan.script, timeout, "on_success", false)];
    if !plan.after_script.is_empty() {
        steps.push(step("after_script", &plan.after_script, AFTER, "always", true));
    }
    steps
}

pub(crate) fn image(plan: &PlannedJob) -> Image {
    let Some(image) = &plan.image else { return Image::default() };
    let options = image.options.as_ref();
    Image {
        name: image.name.clone(),
        entrypoint: list(options, "entrypoint"),
        pull_policy: list(options, "pull_policy"),
        ..Image::default()
    }
}

pub(crate) fn services(plan: &PlannedJob) -> Vec<Service> {
    let one = |image: &cofferdam_pipeline::Image| {
        let options = image.options.as_ref();
        Service {
            name: image.name.clone(),
            alias: options.and_then(|o| o.get("alias")?.as_str()).map(str::to_owned),
            entrypoint: list(options, "entrypoint"),
            command: list(options, "command"),
            pull_policy: list(options, "pull_policy"),
            ..Service::default()
        }
    };
    plan.services.iter().map(one).collect()
}

/// One entry for the archive, and one for every report.
pub(crate) fn artifacts(plan: &PlannedJob) -> Vec<Artifact> {
    let Some(kept) = &plan.artifacts else { return Vec::new() };
    let mut entries = Vec::new();
    let expire_in = kept.expire_in.clone().unwrap_or_default();
    if !kept.paths.is_empty() || kept.untracked {
        entries.push(Artifact {
            name: kept.name.clone().unwrap_or_else(|| "artifacts".into()),
            untracked: kept.untracked,
            paths: kept.paths.clone(),
            exclude: kept.exclude.clone(),
            when: kept.when.clone().unwrap_or_else(|| "on_success".into()),
            expire_in: expire_in.clone(),
            artifact_type: "archive".into(),
            artifact_format: "zip".into(),
        });
    }
    entries.extend(kept.reports.iter().map(|(kind, paths)| Artifact {
        name: if kind == "dotenv" { ".env".into() } else { kind.clone() },
        paths: paths.clone(),
        // A report is most wanted from a job that failed.
        when: "always".into(),
        expire_in: expire_in.clone(),
        artifact_type: kind.clone(),
        artifact_format: report_format(kind).into(),
        ..Artifact::default()
    }));
    entries
}

/// The protocol fixes the format of every type of report.
fn report_format(kind: &str) -> &'static str {
    match kind {
        "junit" | "metrics" | "dotenv" | "cobertura" | "jacoco" | "cyclonedx" | "annotations"
        | "repository_xray" => "gzip",
        "lsif" | "scip" => "zip",
        _ => "raw",
    }
}

/// Caches as written: one mapping, or a list of them.
pub(crate) fn caches(plan: &PlannedJob) -> Vec<Cache> {
    let one = |value: &Value| Cache {
        key: value.get("key").and_then(Value::as_str).unwrap_or("default").to_owned(),
        untracked: value.get("untracked").and_then(Value::as_bool).unwrap_or(false),
        policy: text(value, "policy", "pull-push"),
        paths: list(Some(value), "paths").unwrap_or_default(),
        when: text(value, "when", "on_success"),
        fallback_keys: list(Some(value), "fallback_keys").unwrap_or_default(),
    };
    match &plan.cache {
        Some(Value::Array(all)) => all.iter().map(one).collect(),
        Some(value @ Value::Object(_)) => vec![one(value)],
        _ => Vec::new(),
    }
}

fn text(value: &Value, key: &str, default: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or(default).to_owned()
}

/// A list of texts, or one text that stands for a list of one.
fn list(value: Option<&Value>, key: &str) -> Option<Vec<String>> {
    match value?.get(key)? {
        Value::String(one) => Some(vec![one.clone()]),
        Value::Array(all) => Some(all.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect()),
        _ => None,
    }
}
