//! Names of git projects, as the crossing needs them. The binary joins this to the forge: use cases
//! do not call each other.

use async_trait::async_trait;
use cofferdam_store::Tx;
use cofferdam_types::{ProjectId, Result};

/// Finds and creates git projects by `<group>/<name>`.
#[async_trait]
pub trait Projects: Send + Sync {
    /// A project by path.
    async fn find(&self, tx: &mut Tx, path: &str) -> Result<Option<ProjectId>>;

    /// Creates a project's row and audit entry in the caller's transaction. Its git folder exists
    /// when this returns.
    async fn create(&self, tx: &mut Tx, path: &str, actor: &str) -> Result<ProjectId>;
}
