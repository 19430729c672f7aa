//! Whose artifacts a job gets.

use cofferdam_store::JobRow;
use cofferdam_types::Result;

use crate::machine::plan_of;

/// The jobs of the same pipeline whose artifacts `row` may fetch: newest tries only.
pub(crate) fn sources<'a>(row: &JobRow, jobs: &'a [JobRow]) -> Result<Vec<&'a JobRow>> {
    let plan = plan_of(row)?;
    let mut found = Vec::new();
    for job in jobs.iter().filter(|job| !job.superseded && job.id != row.id) {
        let other = plan_of(job)?;
        let before = match &plan.needs {
            Some(needs) => needs.iter().any(|need| need.job == other.name && need.artifacts),
            None => other.stage_index < plan.stage_index,
        };
        // A parallel job is named by its own name or by that of all its copies.
        let named = |name: &String| *name == other.name || *name == other.group;
        let chosen = plan.dependencies.as_ref().is_none_or(|names| names.iter().any(named));
        if before && chosen {
            found.push(job);
        }
    }
    Ok(found)
}
