//! The list of keywords: what is supported, what is known and refused. Anything else is a mistake.

use crate::diagnostic::Diagnostic;
use crate::yaml::Node;

/// What happens with a keyword.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// It works.
    Supported,
    /// Known, and an error, because ignoring it would change what the pipeline means.
    Refused,
}

/// Where (`root`, `job`, `rules`, ...), which are supported, which are refused.
const TABLE: &[(&str, &str, &str)] = &[
    (
        "root",
        "stages default variables workflow include image services cache before_script after_script",
        "spec types pages",
    ),
    (
        "default",
        "image services cache before_script after_script artifacts interruptible retry tags timeout",
        "hooks id_tokens identity",
    ),
    (
        "job",
        "stage script before_script after_script variables rules needs dependencies artifacts cache image \
         services tags timeout retry allow_failure interruptible resource_group environment parallel when \
         coverage extends inherit",
        "trigger only except run release id_tokens secrets identity pages publish inputs start_in \
         manual_confirmation hooks dast_configuration type",
    ),
    ("rules", "if changes exists when allow_failure variables needs interruptible", "start_in auto_cancel"),
    ("rules:changes", "paths", "compare_to regexp"),
    ("rules:exists", "paths", "project ref regexp"),
    ("workflow", "rules name", "auto_cancel"),
    ("workflow:rules", "if changes exists when variables", "auto_cancel"),
    ("include", "local", "remote project ref file template component artifact job rules inputs integrity"),
    ("needs", "job artifacts optional", "pipeline project ref parallel"),
    ("artifacts", "paths exclude name untracked when expire_in reports", "public access expose_as"),
    ("retry", "max when exit_codes", ""),
    ("allow_failure", "exit_codes", ""),
    ("inherit", "default variables", ""),
    ("parallel", "matrix", ""),
    ("variables", "value description expand options", ""),
    ("image", "name entrypoint docker kubernetes pull_policy", ""),
    ("services", "name alias entrypoint command variables docker kubernetes pull_policy", ""),
    ("cache", "key paths policy when untracked fallback_keys unprotect", ""),
    ("environment", "name url on_stop action auto_stop_in deployment_tier", "kubernetes"),
];

/// Every keyword as (where, name, support).
pub fn keywords() -> impl Iterator<Item = (&'static str, &'static str, Support)> {
    TABLE.iter().flat_map(|(place, supported, refused)| {
        let supported = supported.split_whitespace().map(move |name| (*place, name, Support::Supported));
        supported.chain(refused.split_whitespace().map(move |name| (*place, name, Support::Refused)))
    })
}

/// Notes every key of a mapping that is unknown or refused there.
pub(crate) fn check(node: &Node, context: &str, problems: &mut Vec<Diagnostic>) {
    for (name, place, _) in node.map().unwrap_or_default() {
        match keywords().find(|(at, known, _)| *at == context && known == name) {
            Some((_, _, Support::Supported)) => {}
            Some(_) => problems.push(
                Diagnostic::new(place, format!("`{name}` in {context} is known but not supported"))
                    .hint("remove it: it is refused because ignoring it would change the pipeline"),
            ),
            None => {
                let mut problem = Diagnostic::new(place, format!("unknown keyword `{name}` in {context}"));
                problem.hint = nearest(name, keywords().filter(|k| k.0 == context).map(|k| k.1));
                problems.push(problem);
            }
        }
    }
}

/// "did you mean", for a name that is at most a third different.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let limit = name.chars().count().div_ceil(3).min(3);
    let (distance, best) = known.map(|word| (distance(name, word), word)).min()?;
    (distance <= limit).then(|| format!("did you mean `{best}`?"))
}

fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (diagonal + usize::from(x != *y)).min(above + 1).min(row[j] + 1);
            diagonal = above;
        }
    }
    row[b.len()]
}
