//! The fixed grammar of file names in a transfer's folder: nothing else is opened, ever.

/// `header.dsse.json`
pub const HEADER: &str = "header.dsse.json";
/// `README.txt`
pub const README: &str = "README.txt";
/// The manifest of a sealed transfer: one age file of one zstd stream of JSON lines.
pub const MANIFEST_SEALED: &str = "manifest.jsonl.zst.age";
/// The manifest of an inspectable transfer: JSON lines as they are.
pub const MANIFEST_CLEAR: &str = "manifest.jsonl";
/// What finds damaged slices.
pub const CHECKS: &str = "checks.ctk";
/// The folder of an inspectable transfer's files.
pub const FILES: &str = "files";

/// What a name in the folder is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// [`HEADER`].
    Header,
    /// [`README`].
    Readme,
    /// Either manifest.
    Manifest,
    /// [`CHECKS`].
    Checks,
    /// [`FILES`], a folder.
    Files,
    /// `v000001.ctv`: a part of the payload.
    Volume(u32),
    /// `p000001.ctp`: a part of the parity.
    Parity(u32),
    /// `r000001.ctr`: an answer to a repair request. Not signed: what it mends is.
    Patch(u32),
    /// `root.2.dsse.json`: a link of the chain of roots.
    Root(u32),
    /// `station-<16 hexadecimal digits>.dsse.json`: what a station on the way says.
    Station,
}

impl Name {
    /// What `text` is; `None` when it has no place in a transfer.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fixed = match text {
            HEADER => Some(Self::Header),
            README => Some(Self::Readme),
            MANIFEST_SEALED | MANIFEST_CLEAR => Some(Self::Manifest),
            CHECKS => Some(Self::Checks),
            FILES => Some(Self::Files),
            _ => None,
        };
        if fixed.is_some() {
            return fixed;
        }
        let number = |prefix: &str, suffix: &str| {
            let digits = text.strip_prefix(prefix)?.strip_suffix(suffix)?;
            digits.parse::<u32>().ok().filter(|n| *n > 0)
        };
        if let Some(n) = number("v", ".ctv").filter(|n| volume(*n) == text) {
            return Some(Self::Volume(n));
        }
        if let Some(n) = number("p", ".ctp").filter(|n| parity(*n) == text) {
            return Some(Self::Parity(n));
        }
        if let Some(n) = number("r", ".ctr").filter(|n| patch(*n) == text) {
            return Some(Self::Patch(n));
        }
        if let Some(n) = number("root.", ".dsse.json").filter(|n| root(*n) == text) {
            return Some(Self::Root(n));
        }
        let hex = text.strip_prefix("station-")?.strip_suffix(".dsse.json")?;
        let hexadecimal = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        (hex.len() == 16 && hex.bytes().all(hexadecimal)).then_some(Self::Station)
    }
}

/// The name of a volume.
#[must_use]
pub fn volume(n: u32) -> String {
    format!("v{n:06}.ctv")
}

/// The name of a parity volume.
#[must_use]
pub fn parity(n: u32) -> String {
    format!("p{n:06}.ctp")
}

/// The name of a patch.
#[must_use]
pub fn patch(n: u32) -> String {
    format!("r{n:06}.ctr")
}

/// The name of a root document.
#[must_use]
pub fn root(version: u32) -> String {
    format!("root.{version}.dsse.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_one_spelling_of_a_name_is_that_name() {
        assert_eq!(Name::parse("v000001.ctv"), Some(Name::Volume(1)));
        assert_eq!(Name::parse("v1234567.ctv"), Some(Name::Volume(1_234_567)));
        assert_eq!(Name::parse("root.12.dsse.json"), Some(Name::Root(12)));
        assert_eq!(Name::parse("station-0123456789abcdef.dsse.json"), Some(Name::Station));
        for wrong in [
            "",
            ".",
            "..",
            "v1.ctv",
            "v000000.ctv",
            "V000001.ctv",
            "v000001.CTV",
            "v+00001.ctv",
            "v0000001.ctv",
            "root.0.dsse.json",
            "root.01.dsse.json",
            "header.dsse.json ",
            "station-0123456789ABCDEF.dsse.json",
            "station-.dsse.json",
            "p000001.ctv",
            "autorun.inf",
            "v000001.ctv\n",
        ] {
            assert_eq!(Name::parse(wrong), None, "{wrong:?}");
        }
    }
}
