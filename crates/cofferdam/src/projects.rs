//! Joins the crossing to the forge's projects: use cases do not call each other, so the binary does.

use std::sync::Arc;

use async_trait::async_trait;
use cofferdam_audit::Entry;
use cofferdam_crossing::Projects;
use cofferdam_git::GitService;
use cofferdam_store::Tx;
use cofferdam_types::{Clock, Error, ProjectId, Result, Slug};
use serde_json::json;

/// Projects of the forge's tables, with their git folders.
pub struct ForgeProjects {
    /// Where git repositories are kept.
    pub git: Arc<dyn GitService>,
    /// The site's clock.
    pub clock: Arc<dyn Clock>,
}

fn split(path: &str) -> Result<(Slug, Slug)> {
    let wrong =
        || Error::invalid("project-path", format!("`{path}` is not a project path: `<group>/<name>`"));
    let (group, name) = path.split_once('/').ok_or_else(wrong)?;
    Ok((group.parse().map_err(|_| wrong())?, name.parse().map_err(|_| wrong())?))
}

#[async_trait]
impl Projects for ForgeProjects {
    async fn find(&self, tx: &mut Tx, path: &str) -> Result<Option<ProjectId>> {
        let (group, name) = split(path)?;
        Ok(tx.forge().project_by_path(group.as_str(), name.as_str()).await?.map(|p| p.id))
    }

    async fn create(&self, tx: &mut Tx, path: &str, actor: &str) -> Result<ProjectId> {
        let (group, name) = split(path)?;
        let now = self.clock.now();
        let id = tx.forge().insert_project(group.as_str(), name.as_str(), "main", now).await?;
        let entry = Entry {
            at: now,
            actor: actor.into(),
            action: "project.create".into(),
            target: format!("project:{path}"),
            detail: json!({ "id": id, "default_branch": "main" }),
        };
        cofferdam_audit::append(tx, &entry).await?;
        self.git.init(id, "main").await?;
        Ok(id)
    }
}
