//! The `Format` trait, the door to data, and the conformance tests every format passes.
//!
//! A package format does four things and nothing else:
//!
//! | duty | method | where |
//! |---|---|---|
//! | **serve** | [`Format::serve`] | reads one generation of a repository |
//! | **accept** | [`Format::accept`] | a client's publish |
//! | **record** | [`Format::record`] | upstream's bytes, connected side only |
//! | **admit** | [`Format::admit`] | from a transfer, trusting nothing |
//!
//! The last three end in the same [`Change`]s, which pass the same commit gate in `registry`:
//! names, immutability, dependency confusion, audit, generation. A format cannot forget any of
//! them, because it never touches storage or network: it sees a [`View`] of what is committed, a
//! [`Door`] for bytes, and (connected side) an [`Upstream`].
//!
//! This crate must never know a particular format, open a socket, or run SQL.
//!
//! To add a format: one crate `formats/<name>` with `coords inspect index serve publish collect
//! error`, one line in the binary's composition, and the tests in [`conformance`].

mod answer;
pub mod archive;
pub mod conformance;
mod connection;
mod door;
mod draft;
mod html;
pub mod joined;
mod model;
pub mod proofs;
mod request;
mod status;
mod upstream;
mod view;

use async_trait::async_trait;
use cofferdam_types::{Error, Result};
use serde_json::Value;

pub use answer::{Answer, Body, ByteStream};
pub use connection::{Connection, MAX_NAME, Tls};
pub use door::{Door, DoorExt};
pub use draft::{Change, Draft, DraftFile};
pub use html::html_text;
pub use model::{
    Document, DocumentRef, FileRef, ListedFile, PackageView, PointerView, ReleaseState, ReleaseView,
};
pub use request::{Query, Request, Route, Upload, path_segments};
pub use status::status_of;
pub use upstream::{Fetched, Question, Upstream, Want};
pub use view::{RepositoryKind, RepositoryView, View};

/// One package format. All methods are called with paths *below* the repository's own address
/// (`/r/<repository>/…`), percent-decoded once per segment by the format itself through
/// [`path_segments`].
#[async_trait]
pub trait Format: Send + Sync + 'static {
    /// The format's name in configuration, database and URLs: `pypi`, `npm`, `cargo`, `generic`.
    fn name(&self) -> &'static str;

    /// The package-URL type of this format's packages.
    fn purl_type(&self) -> &'static str {
        self.name()
    }

    /// The normal form of a package name: the key under which two spellings are the same package.
    ///
    /// # Errors
    /// `Invalid` when it is no package name of this ecosystem.
    fn package_key(&self, name: &str) -> Result<String>;

    /// The order of two versions of one package.
    fn compare_versions(&self, a: &str, b: &str) -> std::cmp::Ordering;

    /// What a request is about, from method and path alone (no I/O). `None` is "no such route".
    fn route(&self, request: &Request) -> Option<Route>;

    /// Answers a read from one generation: no writes, no network. Called for [`Route::Document`],
    /// [`Route::File`] and [`Route::Api`]. Large answers are [`Body::Blob`].
    ///
    /// # Errors
    /// `NotFound` and `Invalid`; the edge turns them into [`Format::error`]'s shape.
    async fn serve(&self, request: &Request, route: &Route, view: &dyn View) -> Result<Answer>;

    /// Takes a client's publish (or yank, tag, delete): checks it completely, stores its bytes
    /// through the door, and says what is to change. Nothing is visible before the gate commits.
    ///
    /// # Errors
    /// `Invalid`, `TooLarge`, `VerificationFailed` for what the client sent; `Conflict` for what
    /// contradicts the view.
    async fn accept(&self, request: Upload, view: &dyn View, door: &dyn Door) -> Result<Accepted>;

    /// Says what upstream is to be asked for so that this request can be answered on a recording
    /// mirror; `None` when the request can be answered from what is committed.
    fn want(&self, request: &Request, route: &Route) -> Option<Want>;

    /// The path below the repository of the document that lists a package's releases and files, percent-encoded
    /// and without a leading slash; none when this format has no such document or the name is none.
    fn index_path(&self, name: &str) -> Option<String> {
        let _ = name;
        None
    }

    /// What a client sends as `Accept` for that document; none when it is served in one form only.
    fn index_accept(&self) -> Option<&'static str> {
        None
    }

    /// The files that such a document lists, oldest version first. The document is one that this site served
    /// (live from a recording mirror, or rendered): its addresses are ours. Pure. What a client could not
    /// ask for is left out.
    ///
    /// # Errors
    /// `Invalid` (`index-document`) when it is no such document of this package.
    fn listed(&self, name: &str, index: &[u8]) -> Result<Vec<ListedFile>> {
        let _ = index;
        let text = format!("the format {} has no index that lists the files of {name}", self.name());
        Err(Error::invalid("index-document", text))
    }

    /// How many bytes of a body a request may have that only reads: a question that does not fit into an
    /// address. It is read whole into [`Request::body`], before [`Format::route`] is asked. `None`, which most
    /// formats say, is no such body.
    fn takes_question(&self, request: &Request) -> Option<u64> {
        let _ = request;
        None
    }

    /// Which committed file a request means whose path does not say so: an address with several kept
    /// answers. Called before [`Format::serve`] and only when nothing was recorded for the request just
    /// now; what comes back is served and noted in the route's stead. Most formats have nothing to settle.
    ///
    /// # Errors
    /// `NotFound` when no committed file is meant.
    async fn settle(&self, request: &Request, route: &Route, view: &dyn View) -> Result<Route> {
        let _ = (request, view);
        Ok(route.clone())
    }

    /// Whether anybody publishes in this format. A site has no hosted repository and no group of one
    /// that is only ever recorded: its mirror stands alone.
    fn is_published(&self) -> bool {
        true
    }

    /// Brings a wanted thing from upstream, byte for byte, with upstream's digests checked.
    ///
    /// For an index ([`Want::Index`]) the answer is a live document for the client: upstream's
    /// list with its download addresses replaced by ours; nothing is committed but what was read is
    /// returned as evidence. For a file ([`Want::File`]) the result is the release that the file
    /// belongs to, to be committed, after which the request is served from the view.
    ///
    /// # Errors
    /// `NotFound` when upstream has no such thing, `Unavailable` when it cannot be reached,
    /// `VerificationFailed` when its bytes do not match its own digests.
    async fn record(
        &self,
        want: &Want,
        view: &dyn View,
        upstream: &dyn Upstream,
        door: &dyn Door,
    ) -> Result<Recorded>;

    /// Makes a release from what a transfer claims, re-inspecting the bytes: names and versions
    /// inside the files must agree with the claim. The claim's metadata that cannot be derived
    /// from bytes (upload times, yanks) is taken over after validation.
    ///
    /// # Errors
    /// `VerificationFailed` when bytes and claim disagree.
    async fn admit(&self, claim: &Draft, door: &dyn Door) -> Result<Draft>;

    /// Whether [`Format::render`] ever makes a document. Where it does not, a commit reads nothing of the packages that it
    /// changed: one with thousands of recorded addresses costs no more than a small one.
    fn has_documents(&self) -> bool {
        true
    }

    /// Renders the index documents of one package (and, with `package == None`, those of the
    /// whole repository, such as a list of packages or `config.json`). Deterministic: the same
    /// view gives the same bytes. A package that no longer exists gives no documents.
    ///
    /// # Errors
    /// Only faults of the view.
    async fn render(&self, package: Option<&str>, view: &dyn View) -> Result<Vec<Document>>;

    /// What people want to know of a release before they let it in, from its own metadata, and the role
    /// and metadata of its files. Nothing by default: an ecosystem without such metadata has nothing to say.
    fn traits(&self, meta: &Value, files: &[(&str, &Value)]) -> Traits {
        let _ = (meta, files);
        Traits::default()
    }

    /// Whether upstream's proofs join several files of this format: whether [`Format::join`] is asked.
    fn joins(&self) -> bool {
        false
    }

    /// What upstream's own proofs say of files that came together, when a recording ends and again when a transfer
    /// is received. A proof that cannot be checked is a finding that says why; so is one that does not hold.
    ///
    /// # Errors
    /// Only faults of the door.
    async fn join(
        &self,
        files: &[joined::Together],
        keys: &joined::UpstreamKeys,
        door: &dyn Door,
    ) -> Result<joined::Joined> {
        let _ = (files, keys, door);
        Ok(joined::Joined::default())
    }

    /// An error in the shape that this ecosystem's clients show to people.
    fn error(&self, error: &Error) -> Answer;

    /// Lines that configure the stock client for a repository: see [`ClientSetup`].
    fn client_setup(&self, repository_url: &str, token: Option<&str>) -> ClientSetup;

    /// What a person who publishes needs beside [`Format::client_setup`]: that one is of the repository that is read, mostly a
    /// group, which takes nothing. Here `hosted_url` is a hosted repository's. Nothing, where nobody publishes.
    fn publish_setup(&self, _hosted_url: &str, _token: Option<&str>) -> ClientSetup {
        ClientSetup::default()
    }
}

/// What a release says of itself that people look at before they approve it. Claims, not findings.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Traits {
    /// Licences, as written.
    pub licences: Vec<String>,
    /// Who maintains it: names or addresses.
    pub people: Vec<String>,
    /// Code that runs when it is installed or built: script names.
    pub scripts: Vec<String>,
    /// Upstream's own proofs that are kept with its files, one sentence each, which says what was checked and
    /// what was not. Of a claim that nobody admitted yet they are the recording side's word; admission checks again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub proofs: Vec<String>,
    /// The address that it is the answer to, in a format of addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// What it is, by a package URL, where it is recorded by address and says so itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known_as: Option<String>,
}

/// What [`Format::accept`] decided.
#[derive(Debug)]
pub struct Accepted {
    /// What is to change, all in one commit, in this order.
    pub changes: Vec<Change>,
    /// What the client hears once the commit is durable.
    pub answer: Answer,
}

/// What [`Format::record`] brought.
#[derive(Debug, Default)]
pub struct Recorded {
    /// What is to be committed; empty for a live index.
    pub changes: Vec<Change>,
    /// The live answer, for an index. `None` means "serve again from the view". One with a blob for its body, together
    /// with changes and a `file`, is given before the changes are committed: it may not depend on them.
    pub answer: Option<Answer>,
    /// The committed path that answers the request, where the request's own path is another: it is
    /// served (unless there is a live answer) and noted.
    pub file: Option<String>,
}

/// How a stock client is told to use a repository: environment and files under its home.
/// The same data makes `cofferdam env`, the recorder's sandbox and every job's set-up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientSetup {
    /// Environment variables.
    pub env: Vec<(String, String)>,
    /// Files relative to the home directory, with their text.
    pub files: Vec<(String, String)>,
    /// The commands that a person would type instead, for `cofferdam env`.
    pub commands: Vec<String>,
}

impl ClientSetup {
    /// With another one put to it; files of one name are one file.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.env.extend(other.env);
        self.commands.extend(other.commands);
        for (path, text) in other.files {
            match self.files.iter_mut().find(|(same, _)| *same == path) {
                Some((_, all)) => all.push_str(&text),
                None => self.files.push((path, text)),
            }
        }
        self
    }
}
