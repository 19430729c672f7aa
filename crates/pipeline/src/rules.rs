//! `rules`: reading them and finding the first that holds.

use crate::config::VariableDef;
use crate::expr::Expression;
use crate::glob;
use crate::plan::{AllowFailure, Context, Need, When};
use crate::variables::expand;

/// One rule; its clauses must all hold, and one without clauses always does.
#[derive(Debug, Clone, Default)]
pub struct Rule {
    /// `if`.
    pub condition: Option<Expression>,
    /// `changes`: any of these changed.
    pub changes: Option<Vec<String>>,
    /// `exists`: any of these is there.
    pub exists: Option<Vec<String>>,
    /// `when`.
    pub when: Option<When>,
    /// `allow_failure`.
    pub allow_failure: Option<AllowFailure>,
    /// `variables`.
    pub variables: Vec<VariableDef>,
    /// `needs`, instead of the job's.
    pub needs: Option<Vec<Need>>,
    /// `interruptible`, instead of the job's.
    pub interruptible: Option<bool>,
}

/// The first rule that holds.
pub(crate) fn first<'a>(
    rules: &'a [Rule],
    context: &Context,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Option<&'a Rule> {
    let any = |patterns: &[String], paths: &[String]| {
        patterns.iter().any(|pattern| glob::matches(&expand(pattern, lookup), paths))
    };
    rules.iter().find(|rule| {
        rule.condition.as_ref().is_none_or(|condition| condition.holds(lookup))
            && rule.changes.as_ref().is_none_or(|patterns| match &context.changed_paths {
                Some(paths) => any(patterns, paths),
                None => true,
            })
            && rule
                .exists
                .as_ref()
                .is_none_or(|patterns| context.files.as_ref().is_some_and(|files| any(patterns, files)))
    })
}
