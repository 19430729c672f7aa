//! Pages of transfers.

use askama::Template;

use crate::{
    Frame,
    values::{Fact, Size, State, When},
};

/// A transfer in a list.
#[derive(Clone, Debug)]
pub struct TransferLine {
    /// Its number at this site.
    pub id: i64,
    /// `sent` or `received`.
    pub direction: String,
    /// The stream.
    pub stream: String,
    /// The position in it.
    pub seq: u64,
    /// Its state.
    pub state: State,
    /// Bytes on the medium.
    pub size: Size,
    /// When it was sent or received.
    pub at: When,
    /// Who did that.
    pub actor: String,
    /// Its approval: state, yes votes, needed.
    pub approval: Option<(State, usize, u32)>,
}

/// `/transfers`.
#[derive(Template)]
#[template(path = "transfers.html")]
pub struct Transfers {
    /// Around it.
    pub frame: Frame,
    /// A page of them, newest first.
    pub transfers: Vec<TransferLine>,
    /// The number before which the next page begins.
    pub next: Option<i64>,
}

/// A vote.
#[derive(Clone, Debug)]
pub struct Vote {
    /// Who.
    pub person: String,
    /// `yes` or `no`.
    pub verdict: State,
    /// Why.
    pub reason: String,
    /// When.
    pub at: When,
}

/// An approval.
#[derive(Clone, Debug)]
pub struct Approval {
    /// Where it stands.
    pub state: State,
    /// Yes votes.
    pub yes: usize,
    /// How many are needed.
    pub needed: u32,
    /// Who asked.
    pub requested_by: String,
    /// When.
    pub at: When,
    /// Every vote, oldest first.
    pub votes: Vec<Vote>,
}

/// A release in a difference.
#[derive(Clone, Debug)]
pub struct Line {
    /// Where it goes.
    pub repository: String,
    /// The package's key.
    pub package: String,
    /// The version that comes.
    pub version: String,
    /// The newest version that is here.
    pub from: Option<String>,
    /// Bytes of its files.
    pub size: Size,
    /// `ok`, or why it was refused.
    pub verdict: String,
    /// Its licences, as it says.
    pub licences: String,
    /// What is new about it: word and value.
    pub new: Vec<(String, String)>,
    /// Code that runs when it is installed.
    pub scripts: String,
    /// Whether a rehearsal outside used it.
    pub rehearsed: bool,
}

/// Releases of one sort in a difference.
#[derive(Clone, Debug)]
pub struct Section {
    /// Its heading.
    pub title: &'static str,
    /// What the heading means.
    pub meaning: &'static str,
    /// How many there are.
    pub total: usize,
    /// The first of them.
    pub lines: Vec<Line>,
    /// Whether it is shown opened.
    pub open: bool,
}

/// What the viewer may do with a transfer.
#[derive(Clone, Debug, Default)]
pub struct Acts {
    /// Vote.
    pub vote: bool,
    /// Why they cannot vote although their role could.
    pub vote_not: Option<String>,
    /// Publish.
    pub publish: bool,
}

/// `/transfers/{id}`.
#[derive(Template)]
#[template(path = "transfer.html")]
pub struct Transfer {
    /// Around it.
    pub frame: Frame,
    /// The transfer.
    pub line: TransferLine,
    /// More about it.
    pub facts: Vec<Fact>,
    /// What people approve.
    pub digest: String,
    /// Its approval.
    pub approval: Option<Approval>,
    /// What inspection refused: what and why.
    pub refused: Vec<(String, String)>,
    /// What would change.
    pub sections: Vec<Section>,
    /// What people should look at first.
    pub notable: Vec<String>,
    /// What travels by repository: name, releases, bytes.
    pub sizes: Vec<(String, u64, Size)>,
    /// Rehearsals that travelled with it: command, site and time, packages used, connections to the outside.
    pub rehearsals: Vec<(String, String, usize, u64)>,
    /// Git projects: path, and reference with commit.
    pub projects: Vec<(String, Vec<(String, String)>)>,
    /// Signed statements that travelled with it.
    pub statements: usize,
    /// What the viewer may do.
    pub acts: Acts,
}
