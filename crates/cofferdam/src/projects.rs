//! Joins the crossing to the forge's projects: use cases do not call each other, so the binary does.

use async_trait::async_trait;
use cofferdam_crossing::Projects;
use cofferdam_forge::Forge;
use cofferdam_store::Tx;
use cofferdam_types::{Error, ProjectId, Result};

/// The forge's projects.
pub struct ForgeProjects(pub Forge);

#[async_trait]
impl Projects for ForgeProjects {
    async fn find(&self, tx: &mut Tx, path: &str) -> Result<Option<ProjectId>> {
        let (group, name) = path.split_once('/').ok_or_else(|| {
            Error::invalid("project-path", format!("`{path}` is not a project path: `<group>/<name>`"))
        })?;
        Ok(tx.forge().project_by_path(group, name).await?.map(|p| p.id))
    }

    async fn create(&self, tx: &mut Tx, path: &str, actor: &str) -> Result<ProjectId> {
        Ok(self.0.create_project_in(tx, actor, path).await?.id)
    }
}
