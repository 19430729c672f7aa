//! Projects: a git repository with a path.

use cofferdam_audit::Entry;
use cofferdam_store::{ProjectRow, Tx};
use cofferdam_types::{Error, ProjectId, Result, Slug};
use serde_json::json;

use crate::Forge;

/// The branch that `HEAD` of a new project names.
pub const DEFAULT_BRANCH: &str = "main";

/// First words of addresses that are not groups.
const RESERVED: &[&str] = &[
    "api",
    "r",
    "t",
    "v2",
    "healthz",
    "readyz",
    "metrics",
    "login",
    "logout",
    "assets",
    "static",
    "transfers",
    "approvals",
    "audit",
    "packages",
    "projects",
    "repositories",
    "settings",
    "manual",
    "runners",
    "people",
    "recordings",
    "pipelines",
    "jobs",
];

impl Forge {
    /// Creates a project at `<group>/<name>` with an empty git repository.
    ///
    /// # Errors
    /// `Invalid` for a path that is none; `Conflict` when it is taken.
    pub async fn create_project(&self, actor: &str, path: &str) -> Result<ProjectRow> {
        let mut tx = self.db().write().await?;
        let row = self.create_project_in(&mut tx, actor, path).await?;
        tx.commit().await?;
        Ok(row)
    }

    /// Creates a project in the caller's transaction. Its repository is there when this returns, so
    /// that no project is ever without one; a transaction that is dropped leaves an empty one behind.
    ///
    /// # Errors
    /// As [`Forge::create_project`].
    pub async fn create_project_in(&self, tx: &mut Tx, actor: &str, path: &str) -> Result<ProjectRow> {
        let (namespace, name) = split(path)?;
        if RESERVED.contains(&namespace.as_str()) {
            return Err(Error::invalid(
                "reserved-group",
                format!("`{namespace}` cannot be a group: the site uses that address"),
            ));
        }
        let now = self.now();
        if tx.forge().project_by_path(namespace.as_str(), name.as_str()).await?.is_some() {
            return Err(Error::conflict("project-exists", format!("there is already a project `{path}`")));
        }
        let id = tx.forge().insert_project(namespace.as_str(), name.as_str(), DEFAULT_BRANCH, now).await?;
        let entry = Entry {
            at: now,
            actor: actor.into(),
            action: "project.create".into(),
            target: format!("project:{path}"),
            detail: json!({ "id": id, "default_branch": DEFAULT_BRANCH }),
        };
        cofferdam_audit::append(tx, &entry).await?;
        let row = tx.forge().project(id).await?.ok_or_else(|| missing(path))?;
        self.sources().init(row.id, &row.default_branch).await?;
        Ok(row)
    }

    /// A project by its path.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for a path that is none.
    pub async fn project(&self, path: &str) -> Result<ProjectRow> {
        let (namespace, name) = split(path)?;
        let found =
            self.db().read().await?.forge().project_by_path(namespace.as_str(), name.as_str()).await?;
        found.ok_or_else(|| missing(path))
    }

    /// A page of projects by id.
    ///
    /// # Errors
    /// `Internal` when the database fails.
    pub async fn projects(&self, after: ProjectId, limit: usize) -> Result<Vec<ProjectRow>> {
        self.db().read().await?.forge().projects(after, limit).await
    }
}

fn split(path: &str) -> Result<(Slug, Slug)> {
    let slug = |text: &str| text.parse::<Slug>().map_err(|e| Error::invalid("project-path", e.to_string()));
    let (namespace, name) = path.split_once('/').ok_or_else(|| {
        Error::invalid("project-path", format!("`{path}` is no project: it is written <group>/<project>"))
    })?;
    Ok((slug(namespace)?, slug(name)?))
}

fn missing(path: &str) -> Error {
    Error::not_found(format!("there is no project `{path}`"))
}
