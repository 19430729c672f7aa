//! Pages of transfers.

use askama::Template;

use crate::{
    Frame,
    packages::File,
    paperwork::{MediumLine, Receipts},
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
    /// Upstream's own proofs that travel with it, in words.
    pub proofs: Vec<String>,
    /// What is new about it: word and value.
    pub new: Vec<(String, String)>,
    /// Code that runs when it is installed.
    pub scripts: String,
    /// Rehearsals outside that used it, from 1.
    pub rehearsals: Vec<usize>,
    /// Its package URL.
    pub purl: String,
    /// Its files.
    pub files: Vec<File>,
    /// Who asked for it, in words.
    pub wanted: Vec<String>,
    /// Whether its package has a page here.
    pub here: bool,
}

/// A rehearsal that travelled with a transfer, as its signed statement says.
#[derive(Clone, Debug)]
pub struct Rehearsal {
    /// Its number on the page, from 1.
    pub n: usize,
    /// The command.
    pub command: String,
    /// The site that signed.
    pub site: String,
    /// When.
    pub at: String,
    /// The recording's name there.
    pub recording: String,
    /// Its number there.
    pub number: i64,
    /// The digest of what it collected.
    pub collection: String,
    /// How many packages it used.
    pub used: usize,
    /// Connections to the outside.
    pub outside: u64,
    /// How it was shut off.
    pub network: String,
    /// The command's exit code.
    pub exit_code: i64,
    /// How many things were asked for in vain.
    pub in_vain: usize,
    /// On what it ran.
    pub platform: String,
    /// What of it was compared with the medium.
    pub proof: Proof,
}

/// What of a rehearsal was compared with what the medium brought.
#[derive(Clone, Debug, Default)]
pub struct Proof {
    /// Whether all of it holds.
    pub holds: bool,
    /// Why it does not.
    pub troubles: Vec<String>,
    /// Files of the collection.
    pub files: u64,
    /// How many of them the transfer carries or names.
    pub carried: u64,
    /// The built folder: files and digest.
    pub inputs: String,
    /// What the command made: files and digest.
    pub result: String,
    /// The network log's digest.
    pub network: String,
    /// What was refused.
    pub refused: u64,
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
    /// Rehearsals that travelled with it.
    pub rehearsals: Vec<Rehearsal>,
    /// Git projects: path, and reference with commit.
    pub projects: Vec<(String, Vec<(String, String)>)>,
    /// Signed statements that travelled with it.
    pub statements: usize,
    /// What the viewer may do.
    pub acts: Acts,
    /// Media that carry it: the first of them.
    pub media: Vec<MediumLine>,
    /// Whether there are more.
    pub more_media: bool,
    /// Whether the viewer may register one.
    pub register: bool,
    /// Receipts about it.
    pub receipts: Receipts,
}
