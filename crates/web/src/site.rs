//! Pages of the site itself: overview, login, audit log, errors.

use askama::Template;

use crate::{
    Frame,
    forge::PipelineLine,
    transfers::TransferLine,
    values::{Size, When},
};

/// An entry of the audit log.
#[derive(Clone, Debug)]
pub struct AuditLine {
    /// Its position.
    pub index: u64,
    /// When.
    pub at: When,
    /// Who.
    pub actor: String,
    /// What.
    pub action: String,
    /// To what.
    pub target: String,
    /// More, as JSON.
    pub detail: String,
}

/// A number on the overview.
#[derive(Clone, Debug)]
pub struct Count {
    /// What it counts.
    pub label: &'static str,
    /// How many.
    pub value: String,
    /// Where they are.
    pub href: &'static str,
}

/// `/`.
#[derive(Template)]
#[template(path = "overview.html")]
pub struct Overview {
    /// Around it.
    pub frame: Frame,
    /// The site's public key.
    pub key: String,
    /// Its program's version.
    pub version: &'static str,
    /// Numbers.
    pub counts: Vec<Count>,
    /// Bytes of all repositories, when the viewer may know.
    pub bytes: Option<Size>,
    /// The latest transfers, when the viewer may see them.
    pub transfers: Option<Vec<TransferLine>>,
    /// The latest pipelines, when the viewer may see them.
    pub pipelines: Option<Vec<PipelineLine>>,
    /// The latest audit entries, when the viewer may see them.
    pub audit: Option<Vec<AuditLine>>,
}

/// `/audit`.
#[derive(Template)]
#[template(path = "audit.html")]
pub struct Audit {
    /// Around it.
    pub frame: Frame,
    /// How many entries there are.
    pub size: u64,
    /// A page of them, newest first.
    pub entries: Vec<AuditLine>,
    /// The position before which the next page begins.
    pub next: Option<u64>,
}

/// `/login`.
#[derive(Template)]
#[template(path = "login.html")]
pub struct Login {
    /// Around it.
    pub frame: Frame,
    /// Where to go afterwards.
    pub next: String,
    /// The name that was typed.
    pub name: String,
}

/// An error as a page.
#[derive(Template)]
#[template(path = "error.html")]
pub struct Failure {
    /// Around it.
    pub frame: Frame,
    /// The status code.
    pub status: u16,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}
