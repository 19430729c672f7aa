//! The table of attacks that a receiver sees on the medium, and the two ways to try each of them: by the
//! library, and by the real program.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use cofferdam_transfer::{Authority, CheckOnly, Refusal, Survey, Trust};
use cofferdam_types::{Error, ErrorKind, Sha256};

use crate::{
    manifest, medium,
    sender::{Plan, root, sealing},
    signatures, site,
};

/// One attack.
pub struct Case {
    /// What the attacker does.
    pub name: &'static str,
    /// The refusal that it must meet.
    pub code: &'static str,
    /// Makes the hostile folders.
    pub make: fn(&Bench) -> Vec<PathBuf>,
}

/// Good transfers to make bad ones of.
pub struct Bench {
    home: tempfile::TempDir,
    /// Several volumes, no parity.
    pub plain: PathBuf,
    /// The identity of `plain`.
    pub identity: Sha256,
    /// The one after it.
    pub next: PathBuf,
    /// Flat files.
    pub flat: PathBuf,
    copies: AtomicUsize,
}

impl Bench {
    pub fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let (plain, identity) = Plan::first().write(&home.path().join("plain"));
        let (next, _) = Plan::after(identity, 2).write(&home.path().join("next"));
        let (flat, _) = Plan { flat: true, ..Plan::first() }.write(&home.path().join("flat"));
        Self { home, plain, identity, next, flat, copies: AtomicUsize::new(0) }
    }

    /// A folder of its own.
    pub fn folder(&self) -> PathBuf {
        let n = self.copies.fetch_add(1, Ordering::Relaxed);
        let folder = self.home.path().join(format!("copy-{n}"));
        fs::create_dir(&folder).unwrap();
        folder
    }

    /// A copy of a transfer under its own name.
    pub fn copy(&self, of: &Path) -> PathBuf {
        let to = self.folder().join(of.file_name().unwrap());
        copy(of, &to);
        to
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Whom the receiver believes: the first root document, both roles.
pub fn trust() -> Trust {
    Trust { authority: Authority::Root(Box::new(root(1))), this_site: Some("inside".parse().unwrap()) }
}

/// Takes a transfer in as far as the format goes, every byte of it.
pub fn admit(folders: &[PathBuf]) -> Result<(), Refusal> {
    let folders: Vec<&Path> = folders.iter().map(PathBuf::as_path).collect();
    let mut survey = Survey::open(&folders, &trust())?;
    survey.hash(&())?;
    survey.require_whole()?;
    let contents = survey.contents(Some(sealing(7)), &())?;
    contents.records::<Refusal>(|_| Ok(()))?;
    contents.read(&contents.groups(), &CheckOnly)
}

/// Every attack on the medium.
pub fn cases() -> Vec<Case> {
    [signatures::CASES, medium::CASES, manifest::CASES].into_iter().flatten().map(copy_of).collect()
}

fn copy_of(case: &Case) -> Case {
    Case { name: case.name, code: case.code, make: case.make }
}

#[test]
fn every_attack_on_the_medium_is_refused_by_its_own_code() {
    let bench = Bench::new();
    for good in [&bench.plain, &bench.next, &bench.flat] {
        admit(std::slice::from_ref(good)).unwrap_or_else(|e| panic!("the good transfer is refused: {e:?}"));
    }
    let (mut wrong, mut codes, mut reasons) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for case in cases() {
        match admit(&(case.make)(&bench)) {
            Ok(()) => wrong.push(format!("{}: accepted", case.name)),
            Err(refusal) => {
                let error = Error::from(refusal.clone());
                if (refusal.code, error.kind()) != (case.code, ErrorKind::VerificationFailed) {
                    wrong.push(format!("{}: {} ({:?}), not {}", case.name, refusal.code, error, case.code));
                }
                assert!(!refusal.hint.is_empty() && !refusal.message.is_empty(), "{}", case.name);
                codes.insert(refusal.code);
                reasons.insert(refusal.to_string());
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let names: BTreeSet<_> = cases().iter().map(|case| case.name).collect();
    assert_eq!(names.len(), cases().len(), "each has its own name");
    assert!(names.len() >= 40 && codes.len() >= 20 && reasons.len() >= 40, "{codes:?} {reasons:#?}");
}

#[test]
fn the_program_refuses_each_of_them_with_exit_code_3_and_imports_nothing() {
    let bench = Bench::new();
    let inside = site::Inside::new();
    let mut wrong = Vec::new();
    let state = || (inside.state(), inside.site.blobs());
    let before = state();
    for case in cases() {
        let output = inside.receive(&(case.make)(&bench));
        let (code, message) = (&output.json["error"]["code"], &output.json["error"]["message"]);
        if (output.code, code.as_str()) != (3, Some(case.code)) {
            wrong.push(format!("{}: {} {code} {message}, not {}", case.name, output.code, case.code));
        }
        if state() != before {
            wrong.push(format!("{}: something was imported", case.name));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // The site is well: what is good is still taken.
    assert_eq!(inside.receive(std::slice::from_ref(&bench.plain)).ok()["sound"], true);
}
