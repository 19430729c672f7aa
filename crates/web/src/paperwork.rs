//! Pages of a crossing's paperwork: media, wants, and receipts on a transfer's page.

use askama::Template;

use crate::{
    Frame,
    values::{State, When},
};

/// A medium in the register.
#[derive(Clone, Debug)]
pub struct MediumLine {
    /// Its serial number.
    pub serial: String,
    /// The transfer on it.
    pub transfer: i64,
    /// What is written on it.
    pub label: String,
    /// Who has it.
    pub holder: String,
    /// Where it is in its life.
    pub state: State,
    /// Since when.
    pub at: When,
    /// Who said so.
    pub actor: String,
}

/// A form that registers a medium or moves it, with what was typed.
#[derive(Clone, Debug, Default)]
pub struct MediumForm {
    /// Its serial number; not to be changed when `fixed`.
    pub serial: String,
    /// Whether the form is about one medium.
    pub fixed: bool,
    /// The transfer on it.
    pub transfer: String,
    /// What is written on it.
    pub label: String,
    /// Who has it.
    pub holder: String,
    /// Where it is.
    pub state: String,
    /// The files on it, one a line; as before when empty.
    pub files: String,
    /// What `state` may be.
    pub states: &'static [&'static str],
}

/// `/media`.
#[derive(Template)]
#[template(path = "media.html")]
pub struct Media {
    /// Around it.
    pub frame: Frame,
    /// A page of them, by serial number.
    pub media: Vec<MediumLine>,
    /// The serial number after which the next page begins.
    pub next: Option<String>,
    /// Only media in this state; all when empty.
    pub state: String,
    /// Only media with this transfer; all when empty.
    pub transfer: String,
    /// The states there are.
    pub states: &'static [&'static str],
    /// The form, for those who may write in the register.
    pub form: Option<MediumForm>,
}

/// An entry in the chain of custody.
#[derive(Clone, Debug)]
pub struct CustodyLine {
    /// Its position in the audit log.
    pub index: u64,
    /// When.
    pub at: When,
    /// Who wrote it down.
    pub actor: String,
    /// Where the medium was from then on.
    pub state: State,
    /// Who had it from then on.
    pub holder: String,
    /// The transfer on it.
    pub transfer: i64,
}

/// `/media/{serial}`.
#[derive(Template)]
#[template(path = "medium.html")]
pub struct Medium {
    /// Around it.
    pub frame: Frame,
    /// The medium.
    pub line: MediumLine,
    /// The files on it.
    pub files: Vec<String>,
    /// Its chain of custody, oldest first.
    pub custody: Vec<CustodyLine>,
    /// How many entries the chain has here, where older ones can be in the audit log only.
    pub newest: Option<usize>,
    /// The form, for those who may write in the register.
    pub form: Option<MediumForm>,
}

/// A want.
#[derive(Clone, Debug)]
pub struct WantLine {
    /// The site that wants it.
    pub site: String,
    /// Package format.
    pub format: String,
    /// Package, or the path that was asked for.
    pub package: String,
    /// Version; empty for any.
    pub version: String,
    /// How often it was asked for.
    pub asked: u64,
    /// Why.
    pub note: String,
    /// Who asked first.
    pub actor: String,
    /// Where it stands.
    pub state: State,
    /// When it was last asked for.
    pub last: When,
    /// The transfer that carries it.
    pub transfer: Option<i64>,
}

/// A form that notes a want, with what was typed.
#[derive(Clone, Debug, Default)]
pub struct WantForm {
    /// Package format.
    pub format: String,
    /// Package.
    pub package: String,
    /// Version; empty for any.
    pub version: String,
    /// Why.
    pub note: String,
    /// The formats there are.
    pub formats: Vec<&'static str>,
}

/// `/wants`.
#[derive(Template)]
#[template(path = "wants.html")]
pub struct Wants {
    /// Around it.
    pub frame: Frame,
    /// A page of them, newest first.
    pub wants: Vec<WantLine>,
    /// The number before which the next page begins.
    pub next: Option<i64>,
    /// Only wants in this state; all when empty.
    pub state: String,
    /// Only wants of this site; all when empty.
    pub of: String,
    /// The states there are.
    pub states: &'static [&'static str],
    /// Notes a want.
    pub form: WantForm,
    /// Whether the viewer may sign a request, and there is something to ask for.
    pub request: bool,
    /// Whether the viewer may take another site's request in.
    pub take: bool,
}

/// A receipt about a transfer.
#[derive(Clone, Debug)]
pub struct ReceiptLine {
    /// Its number at this site.
    pub id: i64,
    /// Whether this site gave it; another site did when not.
    pub given: bool,
    /// The site that signed it.
    pub site: String,
    /// What became of the transfer.
    pub outcome: State,
    /// When it was signed.
    pub at: When,
    /// Who gave or took it.
    pub actor: String,
    /// Whether there is a signed file; a receipt that came as words has none.
    pub file: bool,
    /// What else it says, a line each.
    pub says: Vec<String>,
}

/// Receipts on a transfer's page, and the forms for them.
#[derive(Clone, Debug, Default)]
pub struct Receipts {
    /// Every receipt, oldest first.
    pub all: Vec<ReceiptLine>,
    /// The levels at which the viewer may give one: how much it may tell.
    pub levels: Vec<u8>,
    /// Whether the viewer may take one.
    pub take: bool,
}
