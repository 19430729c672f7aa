//! Paper that travels with a medium: labels, hash lists, receipts. Whole HTML files for printing.
//!
//! Unlike the site's pages these are files on a disk, opened by whoever carries the medium: each holds its own
//! style, no script, and refers to nothing outside of itself. The site's content security policy would take the style
//! away: whoever serves one allows exactly this style by [`style_digest`]. Made for A4 and for a hurry: what must be compared is large, black on
//! white, and needs no printed background. Nothing here reads a file or decides what is printed.

use askama::Template;
use cofferdam_trust::{qr, words};
use cofferdam_types::{Result, Sha256, Timestamp, groups};

use crate::{
    render,
    values::{Size, When},
};

/// A set of media and the transfer on it.
#[derive(Clone, Debug)]
pub struct Set {
    /// The only name the transfer's folder may have.
    pub folder: String,
    /// The site that wrote it.
    pub source: String,
    /// The sites it is for.
    pub destinations: Vec<String>,
    /// Rises when a stream starts anew.
    pub epoch: u32,
    /// Position in the epoch.
    pub seq: u64,
    /// When it was written.
    pub created: Timestamp,
    /// When it stops being fresh.
    pub not_after: Timestamp,
    /// The line that the site's rules want on every medium; empty for none.
    pub classification: String,
    /// SHA-256 of the signed header: the identity of the transfer.
    pub identity: Sha256,
    /// The keys that signed, as people compare them.
    pub signers: Vec<String>,
    /// The media, in order.
    pub media: Vec<MediumOf>,
}

/// One medium of a set.
#[derive(Clone, Debug)]
pub struct MediumOf {
    /// From 1.
    pub number: u32,
    /// Its serial number in the media register; empty for a line to write it on.
    pub serial: String,
    /// Everything that lies on it.
    pub files: Vec<PaperFile>,
}

/// One file on a medium.
#[derive(Clone, Debug)]
pub struct PaperFile {
    /// Its name in the transfer's folder.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of the file.
    pub sha256: Sha256,
}

/// What a receipt page shows.
#[derive(Clone, Debug)]
pub struct ReceiptPaper {
    /// Its headline.
    pub title: String,
    /// What it says, a line each.
    pub lines: Vec<String>,
    /// What two people read to each other, line by line (`cofferdam_trust::words::encode`).
    pub words: Vec<String>,
    /// What the code holds; no code when empty. At most `cofferdam_trust::qr::MAX_BYTES`.
    pub qr: Vec<u8>,
}

#[derive(Template)]
#[template(path = "paper.html")]
struct Sheets<'a> {
    set: &'a Set,
    code: String,
}

#[derive(Template)]
#[template(path = "paper-receipt.html")]
struct ReceiptSheet<'a> {
    receipt: &'a ReceiptPaper,
    code: String,
    large: bool,
}

/// What lies beside a transfer as `PRINT-ME.html`. First a label for each medium, two to a page: to cut out
/// and lay in the case. Then a page or more for each medium: every file with its digest, the identity to
/// compare, and lines for the signatures of those who carry it.
///
/// # Errors
/// `Internal` when it cannot be rendered, which is a fault of ours.
pub fn print_me(set: &Set) -> Result<String> {
    let code = qr::svg(format!("{} sha256:{}", set.folder, set.identity).as_bytes())?;
    render(&Sheets { set, code })
}

/// The page of a receipt, in the same style.
///
/// # Errors
/// `TooLarge` (`qr-too-long`) when its code has no room for the bytes; as [`print_me`].
pub fn receipt_page(receipt: &ReceiptPaper) -> Result<String> {
    let code = if receipt.qr.is_empty() { String::new() } else { qr::svg(&receipt.qr)? };
    render(&ReceiptSheet { receipt, code, large: receipt.qr.len() > 300 })
}

/// SHA-256 of the style that every sheet holds, as a content security policy names it.
#[must_use]
pub fn style_digest() -> Sha256 {
    let text = include_str!("../templates/_paper_style.html");
    let inner = text.trim().strip_prefix("<style>").and_then(|rest| rest.strip_suffix("</style>"));
    Sha256::of(inner.unwrap_or(text).as_bytes())
}

/// What a receipt says, to be printed.
#[derive(Clone, Debug)]
pub struct ReceiptFacts {
    /// The site that signed.
    pub site: String,
    /// The stream.
    pub stream: String,
    /// The epoch.
    pub epoch: u32,
    /// The position in it.
    pub seq: u64,
    /// What became of the transfer.
    pub outcome: String,
    /// When it was signed.
    pub at: String,
    /// The transfer's identity.
    pub identity: String,
    /// How many blobs of the stream are held, when it tells.
    pub held: Option<u64>,
}

impl ReceiptPaper {
    /// The page of a receipt; `compact` is what its code holds.
    #[must_use]
    pub fn of(facts: &ReceiptFacts, words: Vec<String>, compact: &str) -> Self {
        let ReceiptFacts { site, stream, epoch, seq, outcome, at, identity, held } = facts;
        let mut lines = vec![
            format!("{site} says of transfer {seq} of `{stream}`: {outcome}"),
            format!("at {at}, epoch {epoch}"),
            format!("identity {identity}"),
        ];
        lines.extend(held.map(|count| format!("{count} blobs of this stream are held")));
        Self { title: "Receipt".into(), lines, words, qr: compact.as_bytes().to_vec() }
    }
}

impl Set {
    fn to(&self) -> String {
        self.destinations.join(", ")
    }

    /// Whether the route needs smaller letters to stay on a label.
    fn is_long(&self) -> bool {
        self.source.chars().count() + self.to().chars().count() > 24
    }

    fn count(&self) -> usize {
        self.media.len()
    }

    fn date(&self) -> String {
        self.created.to_string().get(..10).unwrap_or_default().to_owned()
    }

    fn written(&self) -> When {
        When(self.created)
    }

    fn until(&self) -> When {
        When(self.not_after)
    }

    /// The first half of the identity: two lines of four groups of four digits.
    fn short(&self) -> [String; 2] {
        let hex = self.identity.to_hex();
        [groups(&hex[..16], 4), groups(&hex[16..32], 4)]
    }

    fn whole(&self) -> [String; 2] {
        let hex = self.identity.to_hex();
        [groups(&hex[..32], 8), groups(&hex[32..], 8)]
    }

    fn words(&self) -> Vec<String> {
        words::encode(&self.identity.0)
    }
}

impl MediumOf {
    fn size(&self) -> Size {
        Size(self.files.iter().fold(0u64, |sum, f| sum.saturating_add(f.bytes)))
    }

    /// What lies on it, for a label: numbered files as ranges, items as a count.
    fn summary(&self) -> String {
        let mut parts = Vec::new();
        let mut items = 0;
        let mut range: Option<(&str, &str)> = None;
        for file in &self.files {
            if file.name.contains('/') {
                items += 1;
                continue;
            }
            if !is_numbered(&file.name) {
                close(&mut range, &mut parts);
                parts.push(file.name.clone());
                continue;
            }
            let first = match range {
                Some((first, last)) if follows(last, &file.name) => first,
                _ => {
                    close(&mut range, &mut parts);
                    &file.name
                }
            };
            range = Some((first, &file.name));
        }
        close(&mut range, &mut parts);
        if items > 0 {
            parts.push(format!("{items} item(s) in files/"));
        }
        parts.join(", ")
    }
}

fn close(range: &mut Option<(&str, &str)>, parts: &mut Vec<String>) {
    match range.take() {
        Some((first, last)) if first == last => parts.push(first.to_owned()),
        Some((first, last)) => parts.push(format!("{first} \u{2013} {last}")),
        None => {}
    }
}

fn is_numbered(name: &str) -> bool {
    number(name).is_some() && [".ctv", ".ctp"].iter().any(|end| name.ends_with(end))
}

fn number(name: &str) -> Option<u64> {
    name.get(1..)?.split('.').next()?.parse().ok()
}

fn follows(last: &str, next: &str) -> bool {
    let same = last.get(..1) == next.get(..1) && last.rsplit('.').next() == next.rsplit('.').next();
    same && number(last).zip(number(next)).is_some_and(|(a, b)| a.checked_add(1) == Some(b))
}

impl PaperFile {
    /// Its length with the thousands apart.
    fn length(&self) -> String {
        let digits = self.bytes.to_string();
        let mut out = String::new();
        for (n, digit) in digits.chars().enumerate() {
            if n > 0 && (digits.len() - n).is_multiple_of(3) {
                out.push('\u{a0}');
            }
            out.push(digit);
        }
        out
    }

    fn digest(&self) -> [String; 2] {
        let hex = self.sha256.to_hex();
        [groups(&hex[..32], 8), groups(&hex[32..], 8)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> PaperFile {
        PaperFile { name: name.to_owned(), bytes: 4_000_000, sha256: Sha256::of(name.as_bytes()) }
    }

    fn set() -> Set {
        let medium = |number: u32| {
            let mut files: Vec<_> =
                ["header.dsse.json", "README.txt", "manifest.jsonl.zst.age"].map(file).into();
            files.extend((1..=3).map(|n| file(&format!("v{:06}.ctv", (number - 1) * 3 + n))));
            files.push(file("p000001.ctp"));
            MediumOf { number, serial: String::new(), files }
        };
        Set {
            folder: "CT1-outside+inside-1-000003".to_owned(),
            source: "outside".to_owned(),
            destinations: vec!["inside".to_owned()],
            epoch: 1,
            seq: 3,
            created: Timestamp::from_seconds(1_795_000_000),
            not_after: Timestamp::from_seconds(1_797_600_000),
            classification: "INTERNAL <USE> & \"ONLY\"".to_owned(),
            identity: Sha256::of(b"a transfer"),
            signers: vec!["1a2b 3c4d 5e6f 7081".to_owned()],
            media: vec![medium(1), medium(2)],
        }
    }

    #[test]
    fn paper_shows_the_identity_in_full_thrice_and_every_file_once() {
        let page = print_me(&set()).unwrap();
        let hex = set().identity.to_hex();
        assert!(page.contains(&groups(&hex[..16], 4)) && page.contains(&groups(&hex[32..], 8)));
        for line in words::encode(&set().identity.0) {
            let said: Vec<&str> = line.split_whitespace().filter(|w| w.len() > 2).collect();
            assert!(said.iter().all(|word| page.contains(word)), "{line}");
        }
        let digest = Sha256::of(b"v000005.ctv").to_hex();
        assert_eq!(page.matches(&groups(&digest[..32], 8)).count(), 1);
        assert!(page.contains("<svg") && page.matches("1 of 2").count() >= 2);
        // The labels come first and are small: no file's digest stands on them.
        let (labels, lists) = page.split_once("<h1>").unwrap();
        assert!(labels.contains("class=\"label\"") && !labels.contains(&groups(&digest[..32], 8)));
        assert!(!lists.contains("class=\"label\""));
    }

    #[test]
    fn paper_stands_alone_and_escapes_what_people_wrote() {
        let receipt = ReceiptPaper {
            title: "Receipt <b>".to_owned(),
            lines: vec!["a & b".to_owned()],
            words: words::encode(b"abcd"),
            qr: vec![7; 900],
        };
        for page in [print_me(&set()).unwrap(), receipt_page(&receipt).unwrap()] {
            assert!(!page.contains("<script") && !page.contains("href") && !page.contains("src="), "{page}");
            assert!(!page.contains("<USE>") && !page.contains("Receipt <b>"));
            assert!(page.contains("@page") && page.contains("@media print"));
            let (_, style) = page.split_once("<style>").unwrap();
            assert_eq!(Sha256::of(style.split_once("</style>").unwrap().0.as_bytes()), style_digest());
        }
        let long = ReceiptPaper { qr: vec![0; 3_000], ..receipt };
        assert_eq!(receipt_page(&long).unwrap_err().code(), "qr-too-long");
    }

    #[test]
    fn lengths_are_read_by_threes() {
        let length = |bytes| PaperFile { bytes, ..file("a") }.length().replace('\u{a0}', " ");
        assert_eq!(
            [length(0), length(999), length(1_000), length(2_303_178_752)],
            ["0", "999", "1 000", "2 303 178 752"]
        );
    }

    #[test]
    fn the_greatest_number_is_followed_by_none() {
        let last = format!("v{}.ctv", u64::MAX);
        assert!(!follows(&last, "v000000.ctv") && follows("v000001.ctv", "v000002.ctv"));
    }

    #[test]
    fn a_label_names_volumes_as_ranges() {
        let mut medium = set().media.remove(1);
        medium.files.push(file("files/django.whl"));
        let text = medium.summary();
        assert!(
            text.ends_with("v000004.ctv \u{2013} v000006.ctv, p000001.ctp, 1 item(s) in files/"),
            "{text}"
        );
    }
}
