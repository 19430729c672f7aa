//! From a definition and a moment to the jobs that run.

use crate::config::{Config, Job, Parallel, VariableDef};
use crate::plan::{AllowFailure, Context, Need, Origin, Plan, Planned, PlannedJob, PlannedVariable, When};
use crate::rules::{Rule, first};
use crate::variables::{expand, expand_all};
use std::collections::{HashMap, HashSet};

/// Most jobs of one pipeline.
const MAX_JOBS: usize = 5_000;

/// Decides which jobs run and with what.
pub fn evaluate(config: &Config, context: &Context) -> Planned {
    match plan(config, context) {
        Ok(plan) => Planned::Plan(plan),
        Err(reason) => Planned::NotCreated(reason),
    }
}

fn plan(config: &Config, context: &Context) -> Result<Plan, String> {
    let mut base = outside(context);
    base.extend(defined(&config.variables, Origin::RootYaml));
    if let Some(rules) = &config.workflow {
        let known = settle(base.clone());
        let rule = first(rules, context, &lookup(&known)).ok_or("no rule of `workflow:rules` holds")?;
        if rule.when == Some(When::Never) {
            return Err("the rule of `workflow:rules` that holds says `when: never`".into());
        }
        base.extend(defined(&rule.variables, Origin::WorkflowRule));
    }
    let mut jobs = Vec::new();
    for job in &config.jobs {
        jobs.extend(copies(config, context, job, &base)?);
        if jobs.len() > MAX_JOBS {
            return Err(format!("more than {MAX_JOBS} jobs"));
        }
    }
    if jobs.iter().all(|job| job.stage == ".pre" || job.stage == ".post") {
        return Err("no job is left for this pipeline after its rules".into());
    }
    let used: HashSet<&str> = jobs.iter().map(|job| job.stage.as_str()).collect();
    let stages: Vec<String> =
        config.stages.iter().filter(|stage| used.contains(stage.as_str())).cloned().collect();
    for job in &mut jobs {
        job.stage_index = stages.iter().position(|stage| *stage == job.stage).unwrap_or_default();
    }
    jobs.sort_by_key(|job| job.stage_index);
    link(&mut jobs)?;
    Ok(Plan { stages, jobs })
}

fn outside(context: &Context) -> Vec<PlannedVariable> {
    let set = |key: &str, value: &str, origin| PlannedVariable {
        key: key.to_owned(),
        value: value.to_owned(),
        origin,
        raw: origin == Origin::Predefined,
    };
    let kind = if context.is_tag { "CI_COMMIT_TAG" } else { "CI_COMMIT_BRANCH" };
    let predefined = [
        ("CI_COMMIT_REF_NAME", &context.ref_name),
        ("CI_COMMIT_SHA", &context.sha),
        ("CI_PIPELINE_SOURCE", &context.source),
        ("CI_DEFAULT_BRANCH", &context.default_branch),
        (kind, &context.ref_name),
    ];
    let mut all: Vec<_> = predefined.iter().map(|(key, value)| set(key, value, Origin::Predefined)).collect();
    all.extend(context.variables.iter().map(|(key, value, origin)| set(key, value, *origin)));
    all
}

fn defined(variables: &[VariableDef], origin: Origin) -> impl Iterator<Item = PlannedVariable> {
    variables.iter().map(move |variable| PlannedVariable {
        key: variable.key.clone(),
        value: variable.value.clone(),
        origin,
        raw: !variable.expand,
    })
}

/// One value for each key: the highest origin, and of equal ones the last.
fn settle(mut variables: Vec<PlannedVariable>) -> Vec<PlannedVariable> {
    variables.sort_by_key(|variable| variable.origin);
    let mut settled: Vec<PlannedVariable> = Vec::new();
    let mut index: HashMap<String, usize> = HashMap::new();
    for variable in variables {
        match index.get(&variable.key) {
            Some(at) => settled[*at] = variable,
            None => {
                index.insert(variable.key.clone(), settled.len());
                settled.push(variable);
            }
        }
    }
    settled
}

fn lookup(variables: &[PlannedVariable]) -> impl Fn(&str) -> Option<String> + '_ {
    |name| variables.iter().find(|variable| variable.key == name).map(|variable| variable.value.clone())
}

fn copies(
    config: &Config,
    context: &Context,
    job: &Job,
    base: &[PlannedVariable],
) -> Result<Vec<PlannedJob>, String> {
    let top = |origin| matches!(origin, Origin::RootYaml | Origin::WorkflowRule);
    let mut own: Vec<PlannedVariable> = base
        .iter()
        .filter(|variable| !top(variable.origin) || job.inherit_variables.takes(&variable.key))
        .cloned()
        .collect();
    own.extend(defined(&job.variables, Origin::JobYaml));
    // The rules see what a combination of `matrix` sets, and so choose among the combinations. The
    // number of a copy is known in the job only, so one choice is enough for all of those.
    let choose = |row: &[(String, String)]| match &job.rules {
        None => Some(None),
        Some(rules) => {
            let seen = own.iter().cloned().chain(of_matrix(row)).collect();
            first(rules, context, &lookup(&settle(seen))).map(Some)
        }
    };
    let by_row = matches!(job.parallel, Some(Parallel::Matrix(_)));
    let common = if by_row { None } else { choose(&[]) };
    let mut copies = Vec::new();
    for (name, row) in rows(job) {
        let Some(rule) = (if by_row { choose(&row) } else { common }) else { continue };
        if rule.and_then(|rule| rule.when).unwrap_or(job.when) == When::Never {
            continue;
        }
        let mut own = own.clone();
        own.extend(rule.iter().flat_map(|rule| defined(&rule.variables, Origin::JobRule)));
        copies.push(planned(config, job, rule, &own, name, &row)?);
    }
    Ok(copies)
}

/// The name of every copy of a job, and the variables that only this copy has.
fn rows(job: &Job) -> Vec<(String, Vec<(String, String)>)> {
    match &job.parallel {
        None => vec![(job.name.clone(), Vec::new())],
        Some(Parallel::Count(count)) => (1..=*count)
            .map(|number| {
                let set = [("CI_NODE_INDEX", number), ("CI_NODE_TOTAL", *count)];
                (
                    format!("{} {number}/{count}", job.name),
                    set.map(|(k, v)| (k.to_owned(), v.to_string())).to_vec(),
                )
            })
            .collect(),
        Some(Parallel::Matrix(rows)) => rows
            .iter()
            .map(|row| {
                let values: Vec<&str> = row.iter().map(|(_, value)| value.as_str()).collect();
                (format!("{}: [{}]", job.name, values.join(", ")), row.clone())
            })
            .collect(),
    }
}

fn of_matrix(extra: &[(String, String)]) -> impl Iterator<Item = PlannedVariable> {
    extra.iter().map(|(key, value)| PlannedVariable {
        key: key.clone(),
        value: value.clone(),
        origin: Origin::Matrix,
        raw: false,
    })
}

fn planned(
    config: &Config,
    job: &Job,
    rule: Option<&Rule>,
    own: &[PlannedVariable],
    name: String,
    extra: &[(String, String)],
) -> Result<PlannedJob, String> {
    let mut variables = own.to_vec();
    let set = [("CI_JOB_NAME", &name), ("CI_JOB_STAGE", &job.stage)];
    variables.extend(set.map(|(key, value)| PlannedVariable {
        key: key.to_owned(),
        value: value.clone(),
        origin: Origin::Predefined,
        raw: true,
    }));
    variables.extend(of_matrix(extra));
    let mut variables = settle(variables);
    expand_all(&mut variables).map_err(|why| format!("job `{name}`: {why}"))?;
    let fill = |text: &str| expand(text, &lookup(&variables));
    let when = rule.and_then(|rule| rule.when).unwrap_or(job.when);
    // A manual job written outside `rules` may fail; inside `rules` it stops the pipeline.
    let optional = job.rules.is_none() && when == When::Manual;
    let allow_failure =
        rule.and_then(|rule| rule.allow_failure.clone()).or_else(|| job.allow_failure.clone());
    let mut image = job.image.clone();
    let mut services = job.services.clone();
    image.iter_mut().chain(&mut services).for_each(|image| image.name = fill(&image.name));
    Ok(PlannedJob {
        group: job.name.clone(),
        stage: job.stage.clone(),
        stage_index: config.stages.iter().position(|stage| *stage == job.stage).unwrap_or_default(),
        needs: rule.and_then(|rule| rule.needs.clone()).or_else(|| job.needs.clone()),
        dependencies: job.dependencies.clone(),
        script: job.script.clone(),
        after_script: job.after_script.clone(),
        artifacts: job.artifacts.clone(),
        image,
        services,
        cache: job.cache.clone(),
        when,
        allow_failure: allow_failure.unwrap_or(AllowFailure::Always(optional)),
        timeout: job.timeout,
        retry: job.retry.clone(),
        tags: job.tags.iter().map(|tag| fill(tag)).collect(),
        interruptible: rule.and_then(|rule| rule.interruptible).unwrap_or(job.interruptible),
        resource_group: job.resource_group.as_deref().map(fill),
        environment: job.environment.clone(),
        coverage: job.coverage.clone(),
        name,
        variables,
    })
}

/// Replaces the name of a parallel job in `needs` by all its copies, and refuses missing and circular needs.
fn link(jobs: &mut [PlannedJob]) -> Result<(), String> {
    let mut names: HashMap<String, Vec<String>> = HashMap::new();
    for job in jobs.iter() {
        names.entry(job.group.clone()).or_default().push(job.name.clone());
        if job.name != job.group {
            names.entry(job.name.clone()).or_default().push(job.name.clone());
        }
    }
    for job in jobs.iter_mut() {
        let Some(needs) = job.needs.take() else { continue };
        let mut linked: Vec<Need> = Vec::new();
        for need in needs {
            match names.get(&need.job) {
                Some(found) => {
                    linked.extend(found.iter().map(|name| Need { job: name.clone(), ..need.clone() }))
                }
                None if need.optional => {}
                None => {
                    return Err(format!(
                        "job `{}` needs `{}`, which is not in this pipeline; say `optional: true` if it may be absent",
                        job.name, need.job
                    ));
                }
            }
        }
        job.needs = Some(linked);
    }
    circle(jobs)
}

fn circle(jobs: &[PlannedJob]) -> Result<(), String> {
    let mut open: Vec<&PlannedJob> = jobs.iter().collect();
    let mut done: HashSet<&str> = HashSet::new();
    loop {
        let ready = |job: &PlannedJob, done: &HashSet<&str>| match &job.needs {
            Some(needs) => needs.iter().all(|need| done.contains(need.job.as_str())),
            None => jobs
                .iter()
                .all(|other| other.stage_index >= job.stage_index || done.contains(other.name.as_str())),
        };
        let (now, later): (Vec<_>, Vec<_>) = open.into_iter().partition(|job| ready(job, &done));
        if later.is_empty() {
            return Ok(());
        }
        if now.is_empty() {
            let names: Vec<&str> = later.iter().map(|job| job.name.as_str()).collect();
            return Err(format!("jobs wait for each other in a circle, among: {}", names.join(", ")));
        }
        done.extend(now.iter().map(|job| job.name.as_str()));
        open = later;
    }
}
