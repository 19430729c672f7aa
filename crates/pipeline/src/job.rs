//! From the merged tree to typed jobs; every mistake is noted and reading goes on.

use crate::config::{Config, Inherit, Job, Parallel, VariableDef};
use crate::diagnostic::{Diagnostic, Place};
use crate::expr::Expression;
use crate::keywords::{check, nearest};
use crate::plan::{AllowFailure, Artifacts, Image, Need, Retry, When};
use crate::rules::Rule;
use crate::yaml::{Node, Value};

type Problems = Vec<Diagnostic>;

fn say<T: Default>(problems: &mut Problems, place: &Place, message: impl Into<String>) -> T {
    problems.push(Diagnostic::new(place, message));
    T::default()
}

/// The whole definition from the merged tree and its finished job nodes.
pub(crate) fn config(tree: &Node, jobs: Vec<(String, Place, Node)>, problems: &mut Problems) -> Config {
    let named = tree.get("stages").map(|node| texts(node, problems));
    let named = named.unwrap_or_else(|| ["build", "test", "deploy"].map(str::to_owned).to_vec());
    let mut stages = vec![".pre".to_owned()];
    stages.extend(named.into_iter().filter(|stage| stage != ".pre" && stage != ".post"));
    stages.push(".post".to_owned());
    for (name, place, _) in tree.map().unwrap_or_default() {
        if matches!(name.as_str(), "spec" | "types") {
            say::<()>(problems, place, format!("`{name}` is known but not supported"));
        }
    }
    let variables = tree.get("variables").map(|node| variables(node, problems)).unwrap_or_default();
    let workflow = tree.get("workflow").and_then(|node| {
        check(node, "workflow", problems);
        node.get("rules").map(|node| rules(node, "workflow:rules", problems))
    });
    let jobs: Vec<Job> =
        jobs.into_iter().map(|(name, place, node)| job(name, place, &node, problems)).collect();
    if jobs.is_empty() && problems.is_empty() {
        say::<()>(problems, &tree.place, "there is no job: write at least one with a `script`");
    }
    for job in &jobs {
        if !stages.contains(&job.stage) {
            let mut problem = Diagnostic::new(
                &job.place,
                format!("job `{}` is in the stage `{}`, which is not in `stages`", job.name, job.stage),
            );
            problem.hint = nearest(&job.stage, stages.iter().map(String::as_str));
            problems.push(problem);
        }
        let wanted = job.needs.iter().flatten().map(|need| (&need.job, need.optional));
        for (want, optional) in wanted.chain(job.dependencies.iter().flatten().map(|name| (name, false))) {
            if !optional
                && !jobs.iter().any(|other| {
                    other.name == *want
                        || want.starts_with(&format!("{}: [", other.name))
                        || want.starts_with(&format!("{} ", other.name))
                })
            {
                let mut problem = Diagnostic::new(
                    &job.place,
                    format!("job `{}` needs `{want}`, which does not exist", job.name),
                );
                problem.hint = nearest(want, jobs.iter().map(|other| other.name.as_str()));
                problems.push(problem);
            }
        }
    }
    Config { stages, variables, workflow, jobs }
}

fn job(name: String, place: Place, node: &Node, problems: &mut Problems) -> Job {
    check(node, "job", problems);
    if name.chars().count() > 255 {
        say::<()>(problems, &place, "a job's name has at most 255 characters");
    }
    let mut job = Job { name, place, stage: "test".into(), ..Job::default() };
    let mut script = None;
    let mut before = Vec::new();
    for (key, at, value) in node.map().unwrap_or_default() {
        // `null` unsets what `extends` or `default` would give.
        if value.is_null() && key != "script" {
            continue;
        }
        match key.as_str() {
            "script" => script = Some(lines(value, problems)),
            "before_script" => before = lines(value, problems),
            "after_script" => job.after_script = lines(value, problems),
            "stage" => job.stage = text(value, problems),
            "variables" => job.variables = variables(value, problems),
            "rules" => job.rules = Some(rules(value, "rules", problems)),
            "needs" => job.needs = Some(needs(value, problems)),
            "dependencies" => job.dependencies = Some(texts(value, problems)),
            "artifacts" => job.artifacts = Some(artifacts(value, problems)),
            "cache" => job.cache = Some(carried(value, "cache", problems)),
            "environment" => job.environment = Some(carried(value, "environment", problems)),
            "image" => job.image = Some(image(value, "image", problems)),
            "services" => {
                job.services = items(value).iter().map(|n| image(n, "services", problems)).collect()
            }
            "tags" => job.tags = texts(value, problems),
            "timeout" => job.timeout = duration(value, problems),
            "retry" => job.retry = retry(value, problems),
            "allow_failure" => job.allow_failure = Some(allow_failure(value, problems)),
            "interruptible" => job.interruptible = boolean(value, problems),
            "resource_group" => job.resource_group = Some(text(value, problems)),
            "parallel" => job.parallel = parallel(value, problems),
            "when" => job.when = when(value, problems),
            "coverage" => job.coverage = Some(text(value, problems)),
            "inherit" => job.inherit_variables = inherit(value.get("variables"), problems),
            _ => {
                let _ = at;
            }
        }
    }
    match script {
        Some(lines) if !lines.is_empty() => job.script = before.into_iter().chain(lines).collect(),
        _ if node.get("trigger").is_some() || node.get("run").is_some() => {}
        _ => say::<()>(problems, &job.place, format!("job `{}` has no `script`", job.name)),
    }
    job
}

pub(crate) fn inherit(node: Option<&Node>, problems: &mut Problems) -> Inherit {
    match node {
        None => Inherit::All,
        Some(node) if node.list().is_some() => Inherit::Only(texts(node, problems)),
        Some(node) => {
            if boolean(node, problems) {
                Inherit::All
            } else {
                Inherit::None
            }
        }
    }
}

fn items(node: &Node) -> &[Node] {
    node.list().unwrap_or(std::slice::from_ref(node))
}

fn text(node: &Node, problems: &mut Problems) -> String {
    node.text().map_or_else(|| say(problems, &node.place, "a text is wanted here"), str::to_owned)
}

fn texts(node: &Node, problems: &mut Problems) -> Vec<String> {
    items(node).iter().map(|item| text(item, problems)).collect()
}

fn boolean(node: &Node, problems: &mut Problems) -> bool {
    node.bool().unwrap_or_else(|| say(problems, &node.place, "`true` or `false` is wanted here"))
}

/// Script lines; lists in lists are flattened, as anchors and references make them.
fn lines(node: &Node, problems: &mut Problems) -> Vec<String> {
    fn flatten(node: &Node, depth: usize, out: &mut Vec<String>, problems: &mut Problems) {
        match &node.value {
            Value::List(_) if depth > 10 => say(problems, &node.place, "lists nested deeper than 10 levels"),
            Value::List(items) => items.iter().for_each(|item| flatten(item, depth + 1, out, problems)),
            Value::Scalar(..) if !node.is_null() => out.push(text(node, problems)),
            Value::Scalar(..) => {}
            Value::Map(_) => problems.push(
                Diagnostic::new(&node.place, "a script line must be text, this is a mapping")
                    .hint("put quotes around a line that has `: ` in it"),
            ),
        }
    }
    let mut out = Vec::new();
    flatten(node, 0, &mut out, problems);
    out
}

fn variables(node: &Node, problems: &mut Problems) -> Vec<VariableDef> {
    let Some(entries) = node.map() else { return say(problems, &node.place, "`variables` is a mapping") };
    let mut out = Vec::new();
    for (key, _, value) in entries {
        let (value, expand) = if value.map().is_some() {
            check(value, "variables", problems);
            let expand = value.get("expand").is_none_or(|node| boolean(node, problems));
            (value.get("value").map(|node| text(node, problems)).unwrap_or_default(), expand)
        } else if value.is_null() {
            (String::new(), true)
        } else {
            (text(value, problems), true)
        };
        out.push(VariableDef { key: key.clone(), value, expand });
    }
    out
}

fn rules(node: &Node, context: &str, problems: &mut Problems) -> Vec<Rule> {
    fn flatten<'a>(node: &'a Node, out: &mut Vec<&'a Node>) {
        match node.list() {
            Some(items) => items.iter().for_each(|item| flatten(item, out)),
            None => out.push(node),
        }
    }
    let mut nodes = Vec::new();
    flatten(node, &mut nodes);
    nodes.into_iter().map(|node| rule(node, context, problems)).collect()
}

fn rule(node: &Node, context: &str, problems: &mut Problems) -> Rule {
    if node.map().is_none() {
        return say(problems, &node.place, "a rule is a mapping, such as `- if: $CI_COMMIT_TAG`");
    }
    check(node, context, problems);
    let condition = node.get("if").and_then(|node| {
        let text = text(node, problems);
        Expression::parse(&text)
            .map_err(|why| {
                problems.push(Diagnostic::new(&node.place, format!("`if` is not an expression: {why}")))
            })
            .ok()
    });
    let mut paths = |key: &str| {
        node.get(key).map(|value| {
            check(value, &format!("rules:{key}"), problems);
            let value = if value.map().is_some() { value.get("paths").unwrap_or(value) } else { value };
            if value.map().is_some() {
                say(problems, &value.place, "`paths` is missing")
            } else {
                texts(value, problems)
            }
        })
    };
    let (changes, exists) = (paths("changes"), paths("exists"));
    Rule {
        condition,
        changes,
        exists,
        when: node.get("when").map(|node| when(node, problems)),
        allow_failure: node.get("allow_failure").map(|node| allow_failure(node, problems)),
        variables: node.get("variables").map(|node| variables(node, problems)).unwrap_or_default(),
        needs: node.get("needs").map(|node| needs(node, problems)),
        interruptible: node.get("interruptible").map(|node| boolean(node, problems)),
    }
}

fn needs(node: &Node, problems: &mut Problems) -> Vec<Need> {
    let need = |item: &Node| {
        if item.map().is_none() {
            return Need { job: text(item, problems), artifacts: true, optional: false };
        }
        check(item, "needs", problems);
        let job = match item.get("job") {
            Some(job) => text(job, problems),
            None => say(problems, &item.place, "`job` is missing in this need"),
        };
        let artifacts = item.get("artifacts").is_none_or(|node| boolean(node, problems));
        Need { job, artifacts, optional: item.get("optional").is_some_and(|node| boolean(node, problems)) }
    };
    items(node).iter().map(need).collect()
}

fn artifacts(node: &Node, problems: &mut Problems) -> Artifacts {
    if node.map().is_none() {
        return say(problems, &node.place, "`artifacts` is a mapping");
    }
    check(node, "artifacts", problems);
    let list =
        |key: &str, problems: &mut Problems| node.get(key).map(|n| texts(n, problems)).unwrap_or_default();
    let word = |key: &str, problems: &mut Problems| node.get(key).map(|n| text(n, problems));
    let mut reports = Vec::new();
    for (kind, place, value) in node.get("reports").and_then(Node::map).unwrap_or_default() {
        match REPORTS.contains(&kind.as_str()) {
            true if value.map().is_some() => {
                let path = value.get("path").map(|node| texts(node, problems)).unwrap_or_default();
                reports.push((kind.clone(), path));
            }
            true => reports.push((kind.clone(), texts(value, problems))),
            false => {
                let mut problem = Diagnostic::new(place, format!("unknown report type `{kind}`"));
                problem.hint = nearest(kind, REPORTS.iter().copied());
                problems.push(problem);
            }
        }
    }
    let when = node.get("when").map(|node| when(node, problems));
    let when = when.map(|when| match when {
        When::OnFailure => "on_failure".to_owned(),
        When::Always => "always".to_owned(),
        _ => "on_success".to_owned(),
    });
    if let Some(node) = node.get("expire_in").filter(|node| node.text() != Some("never")) {
        duration(node, problems);
    }
    Artifacts {
        paths: list("paths", problems),
        exclude: list("exclude", problems),
        name: word("name", problems),
        untracked: node.get("untracked").is_some_and(|node| boolean(node, problems)),
        when,
        expire_in: word("expire_in", problems),
        reports,
    }
}

const REPORTS: &[&str] = &[
    "junit",
    "dotenv",
    "coverage_report",
    "cyclonedx",
    "sarif",
    "sast",
    "dependency_scanning",
    "container_scanning",
    "secret_detection",
    "codequality",
    "terraform",
    "dast",
    "license_scanning",
    "accessibility",
    "annotations",
    "browser_performance",
    "load_performance",
    "lsif",
    "metrics",
    "requirements",
    "repository_xray",
];

fn carried(node: &Node, context: &str, problems: &mut Problems) -> serde_json::Value {
    items(node).iter().for_each(|item| check(item, context, problems));
    node.json()
}

fn image(node: &Node, context: &str, problems: &mut Problems) -> Image {
    if node.map().is_none() {
        return Image { name: text(node, problems), options: None };
    }
    check(node, context, problems);
    let name = match node.get("name") {
        Some(name) => text(name, problems),
        None => say(problems, &node.place, "`name` is missing"),
    };
    Image { name, options: Some(node.json()) }
}

fn retry(node: &Node, problems: &mut Problems) -> Retry {
    let mut max = |node: &Node| match node.number() {
        Some(max @ 0..=2) => max as u32,
        _ => say(problems, &node.place, "`retry` is 0, 1 or 2"),
    };
    if node.map().is_none() {
        return Retry { max: max(node), ..Retry::default() };
    }
    let max = node.get("max").map(&mut max).unwrap_or_default();
    check(node, "retry", problems);
    let when = node.get("when").map(|node| texts(node, problems)).unwrap_or_default();
    Retry { max, when, exit_codes: codes(node, problems) }
}

fn codes(node: &Node, problems: &mut Problems) -> Vec<i64> {
    let Some(node) = node.get("exit_codes") else { return Vec::new() };
    items(node)
        .iter()
        .map(|item| item.number().unwrap_or_else(|| say(problems, &item.place, "an exit code is a number")))
        .collect()
}

fn allow_failure(node: &Node, problems: &mut Problems) -> AllowFailure {
    if node.map().is_none() {
        return AllowFailure::Always(boolean(node, problems));
    }
    check(node, "allow_failure", problems);
    AllowFailure::ExitCodes(codes(node, problems))
}

fn when(node: &Node, problems: &mut Problems) -> When {
    match node.text().unwrap_or_default() {
        "on_success" => When::OnSuccess,
        "on_failure" => When::OnFailure,
        "always" => When::Always,
        "manual" => When::Manual,
        "never" => When::Never,
        "delayed" => say(problems, &node.place, "`when: delayed` is known but not supported"),
        other => {
            let mut problem = Diagnostic::new(&node.place, format!("unknown `when`: `{other}`"));
            problem.hint =
                nearest(other, ["on_success", "on_failure", "always", "manual", "never"].into_iter());
            problems.push(problem);
            When::default()
        }
    }
}

fn parallel(node: &Node, problems: &mut Problems) -> Option<Parallel> {
    if let Some(number) = node.number() {
        if !(1..=200).contains(&number) {
            return say(problems, &node.place, "`parallel` is between 1 and 200");
        }
        return Some(Parallel::Count(number as usize));
    }
    check(node, "parallel", problems);
    let Some(matrix) = node.get("matrix") else {
        return say(problems, &node.place, "`parallel` is a number or has a `matrix`");
    };
    let mut all = Vec::new();
    for item in items(matrix) {
        let mut rows: Vec<Vec<(String, String)>> = vec![Vec::new()];
        for (key, _, values) in item.map().unwrap_or_default() {
            let values = texts(values, problems);
            if rows.len() * values.len() + all.len() > 200 {
                return say(problems, &matrix.place, "the matrix has more than 200 combinations");
            }
            rows = rows
                .iter()
                .flat_map(|row| {
                    values.iter().map(move |v| [row.as_slice(), &[(key.clone(), v.clone())]].concat())
                })
                .collect();
        }
        all.extend(rows);
    }
    Some(Parallel::Matrix(all))
}

/// `1h 30m`, `90 minutes`, `3600`: seconds.
fn duration(node: &Node, problems: &mut Problems) -> Option<u64> {
    let written = node.text().unwrap_or_default().to_lowercase().replace(" and ", " ");
    let mut total = 0u64;
    let mut rest = written.trim();
    let wrong =
        |problems: &mut Problems| say(problems, &node.place, "not a duration: write for example `1h 30m`");
    if rest.is_empty() {
        return wrong(problems);
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let after = after.trim_start();
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let factor = match &after[..letters] {
            "" | "s" | "sec" | "secs" | "second" | "seconds" => Some(1),
            "m" | "min" | "mins" | "minute" | "minutes" => Some(60),
            "h" | "hr" | "hrs" | "hour" | "hours" => Some(3600),
            "d" | "day" | "days" => Some(86_400),
            "w" | "wk" | "week" | "weeks" => Some(604_800),
            "mo" | "mos" | "month" | "months" => Some(2_592_000),
            "y" | "yr" | "yrs" | "year" | "years" => Some(31_557_600),
            _ => None,
        };
        let part =
            number.parse::<u64>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
        match part.and_then(|part| total.checked_add(part)) {
            Some(sum) => total = sum,
            None => return wrong(problems),
        }
        rest = after[letters..].trim_start_matches([' ', ',']);
    }
    Some(total)
}
