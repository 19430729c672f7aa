//! Addresses: their one spelling, and where their answers are kept.
//!
//! Scheme and host in lower case, a port only where it is not the scheme's own, no user, no fragment;
//! path and query byte for byte. What is kept has `***` in place of credentials in the query. Pure
//! text work.

use cofferdam_format_kit::Request;
use cofferdam_types::{Error, Result, Sha256, address::query_without_secrets};
use percent_encoding::percent_decode_str;
use url::{Host, Url};

use crate::{image, lasting, question};

/// The folder of every kept answer.
pub const KEPT: &str = "kept";

/// Bytes of a whole address at the most.
const MAX_ADDRESS: usize = 8192;

/// Segments of the path that are part of the package's name, at the most, and their bytes.
const NAMED: (usize, usize) = (2, 100);

/// Bytes of a file's name in paths and versions.
const MAX_NAME: usize = 80;

/// An address in its one spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    secure: bool,
    /// Host, and the port where it is not the scheme's own.
    host: String,
    path: String,
    query: String,
    /// The number of what is asked there, if anything is.
    question: Option<Sha256>,
}

impl Address {
    /// Reads the path of a request below the repository, `/https/host[:port]/path`, and its raw query.
    ///
    /// # Errors
    /// `Invalid` (`bad-address`) saying what is wrong with it.
    pub fn read(path: &str, raw_query: &str) -> Result<Self> {
        let (secure, rest) = match path.strip_prefix("/https/") {
            Some(rest) => (true, rest),
            None => {
                (false, path.strip_prefix("/http/").ok_or_else(|| bad("it begins with https/ or http/"))?)
            }
        };
        let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        if path.len() + raw_query.len() > MAX_ADDRESS {
            return Err(bad(&format!("it has more than {MAX_ADDRESS} bytes")));
        }
        let plain = |text: &str| text.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
        if !plain(path) || !plain(raw_query) || path.contains('?') {
            return Err(bad("its path or query holds a character that must be percent-encoded"));
        }
        // apt asks for `/./Packages` of a flat repository. It means the same without (RFC 3986, section 5.2.4).
        let path = &without_dots(path);
        let leaves = |s: &str| matches!(percent_decode_str(s).collect::<Vec<u8>>().as_slice(), b"." | b"..");
        if path.split('/').any(leaves) {
            return Err(bad("its path holds `.` or `..`, which leads elsewhere"));
        }
        let host = host(secure, authority)?;
        Ok(Self { secure, host, path: path.to_owned(), query: raw_query.to_owned(), question: None })
    }

    /// Reads what a request asks for: its address, and the question that it has there.
    ///
    /// # Errors
    /// As [`Address::read`], and `Invalid` (`bad-question`).
    pub fn of(request: &Request) -> Result<Self> {
        let address = Self::read(&request.path, &request.raw_query)?;
        match question::is_one(request) {
            true => Ok(address.asking(Some(question::number(&request.body)?))),
            false => Ok(address),
        }
    }

    /// The same address, with a question there.
    pub fn asking(self, question: Option<Sha256>) -> Self {
        Self { question, ..self }
    }

    /// The number of what is asked there.
    pub fn question(&self) -> Option<Sha256> {
        self.question
    }

    /// Whether it is one of those by which git fetches. What they answer depends on the protocol's version.
    pub fn is_git(&self) -> bool {
        let refs = self.path.ends_with("/info/refs") && self.query == "service=git-upload-pack";
        refs || self.question.is_some()
    }

    /// Whether it is a manifest of a container registry: which one it answers depends on `Accept`.
    pub fn is_manifest(&self) -> bool {
        self.question.is_none() && image::is_manifest(&self.path)
    }

    /// The digest of the bytes behind it, where it names them as container registries do.
    pub fn digest(&self) -> Option<Sha256> {
        image::digest_of(&self.path)
    }

    /// Whether it may be one where a container registry's tokens are had.
    pub fn asks_for_token(&self) -> bool {
        self.question.is_none() && image::asks_for_token(&self.query)
    }

    /// Whether what is behind it stays what it is, by a rule of those who serve it: see [`lasting`].
    pub fn never_changes(&self) -> bool {
        self.question.is_none() && lasting::never_changes(&self.path, &self.query)
    }

    /// Reads an address as people write it.
    ///
    /// # Errors
    /// As [`Address::read`].
    pub fn parse(text: &str) -> Result<Self> {
        let (scheme, rest) = text.split_once("://").ok_or_else(|| bad("it has no scheme"))?;
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        Self::read(&format!("/{scheme}/{place}"), query)
    }

    /// The address that is asked for. It may hold credentials.
    pub fn whole(&self) -> String {
        self.written(&self.query)
    }

    /// The address that is kept and shown.
    pub fn shown(&self) -> String {
        self.written(&query_without_secrets(&self.query))
    }

    fn written(&self, query: &str) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{scheme}://{}{}{mark}{query}", self.host, self.path)
    }

    /// The package: the host and the first folders of the path.
    pub fn package(&self) -> String {
        let folders = self.path.rsplit_once('/').map_or("", |(folders, _)| folders);
        let named = folders.split('/').filter(|s| !s.is_empty() && s.len() <= NAMED.1).take(NAMED.0);
        std::iter::once(self.host.as_str()).chain(named).collect::<Vec<_>>().join("/")
    }

    /// The file's name as it stands in versions and paths: the last segment, with letters, digits and
    /// `-._` only.
    pub fn name(&self) -> String {
        let last = self.path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let plain = |c: char| if c.is_ascii_alphanumeric() || "-._".contains(c) { c } else { '_' };
        let name: String = last.chars().map(plain).take(MAX_NAME).collect();
        let name = name.trim_start_matches('.');
        if name.is_empty() { "index".to_owned() } else { name.to_owned() }
    }

    /// Where the answers of this address are kept, with a slash at the end. The number keeps addresses
    /// apart that share host and name; that it is short does no harm, for every kept answer holds its
    /// whole address.
    pub fn folder(&self) -> String {
        let mut text = self.shown();
        if let Some(question) = self.question {
            // No address holds a line break.
            text.push_str(&format!("\n{question}"));
        }
        let number = Sha256::of(text.as_bytes()).to_hex();
        let number = number.get(..16).unwrap_or_default();
        format!("{KEPT}/{}/{}/{number}/", self.host, self.name())
    }
}

/// The host as it is compared, without a user, with the port where it says something.
fn host(secure: bool, authority: &str) -> Result<String> {
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let scheme = if secure { "https" } else { "http" };
    let wrong = || bad(&format!("`{authority}` is no host"));
    let url = Url::parse(&format!("{scheme}://{authority}/")).map_err(|_| wrong())?;
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(wrong());
    }
    let host = match url.host().ok_or_else(wrong)? {
        Host::Domain(name) => name.trim_end_matches('.').to_owned(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => format!("[{address}]"),
    };
    if host.is_empty() || host.len() > 255 {
        return Err(wrong());
    }
    Ok(url.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}")))
}

/// Checks a package's key: a host in its one spelling and folders.
///
/// # Errors
/// `Invalid` (`package-name`).
pub fn key(name: &str) -> Result<String> {
    let (authority, folders) = name.split_once('/').map_or((name, None), |(a, f)| (a, Some(f)));
    // A port is written where it is not the scheme's own: 80 may stand for https, 443 for http.
    let known = [true, false].into_iter().any(|secure| host(secure, authority).is_ok_and(|h| h == authority));
    let plain = |s: &str| !matches!(s, "" | "." | "..") && s.bytes().all(|b| b.is_ascii_graphic());
    let sound = folders.is_none_or(|f| f.split('/').all(plain) && f.split('/').count() <= NAMED.0);
    if !known || !sound || name.len() > 500 {
        let text = format!("`{name}` is not a host with up to {} folders of its addresses", NAMED.0);
        return Err(Error::invalid("package-name", text).hint("write it as host.example/folder/folder"));
    }
    Ok(name.to_owned())
}

/// The path without the segments `.`; one at the end leaves its slash.
fn without_dots(path: &str) -> String {
    let end = if path.ends_with("/.") { "/" } else { "" };
    let segments: Vec<&str> = path.split('/').filter(|segment| *segment != ".").collect();
    segments.join("/") + end
}

fn bad(why: &str) -> Error {
    Error::invalid("bad-address", format!("the address cannot be used: {why}"))
        .hint("ask for /https/host/path or /http/host/path below the repository")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(path: &str, query: &str) -> String {
        Address::read(path, query).unwrap().whole()
    }

    #[test]
    fn an_address_has_one_spelling_and_keeps_path_and_query() {
        assert_eq!(
            whole("/https/Host.Example:443/A//b%2Fc/", "q=1&&z"),
            "https://host.example/A//b%2Fc/?q=1&&z"
        );
        assert_eq!(whole("/http/me:pw@host.example:8080", ""), "http://host.example:8080/");
        assert_eq!(whole("/https/[2001:DB8::1]:80/x", ""), "https://[2001:db8::1]:80/x");
        assert_eq!(whole("/http/HOST.example./x", ""), "http://host.example/x");
        let again = Address::parse("https://host.example/A//b%2Fc/?q=1&&z").unwrap();
        assert_eq!(again.whole(), again.shown());
    }

    #[test]
    fn a_segment_of_one_dot_means_nothing_and_is_taken_out() {
        for (asked, meant) in [
            ("/stable/./Packages", "/stable/Packages"),
            ("/a/.", "/a/"),
            ("/./.", "/"),
            ("/.a/..b", "/.a/..b"),
        ] {
            assert_eq!(Address::read(&format!("/http/h{asked}"), "").unwrap().path, meant);
        }
    }

    #[test]
    fn what_is_no_address_is_refused_by_name() {
        for (path, query) in [
            ("/ftp/host/x", ""),
            ("/https//x", ""),
            ("/https/a b/x", ""),
            ("/https/host/../x", ""),
            ("/https/host/%2e/x", ""),
            ("/https/host/%2e%2E/x", ""),
            ("/https/host/a\u{7f}", ""),
            ("/https/host/x", "a b"),
            ("/https/host:99999/x", ""),
            ("/https/a\\b/x", ""),
        ] {
            assert_eq!(Address::read(path, query).unwrap_err().code(), "bad-address", "{path}?{query}");
        }
    }

    #[test]
    fn packages_are_hosts_with_folders_and_names_are_plain() {
        let of = |text: &str| Address::parse(text).unwrap();
        assert_eq!(of("https://h.example/o/r/releases/v1/x.tar.gz").package(), "h.example/o/r");
        assert_eq!(of("https://h.example/x.sh").package(), "h.example");
        assert_eq!(of("https://h.example:444/").package(), "h.example:444");
        assert_eq!(of("https://h.example/a/%C3%A4 b".replace(' ', "+").as_str()).name(), "_C3_A4_b");
        assert_eq!(of("https://h.example/..x/").name(), "x");
        assert_eq!(of("https://h.example/?sig=secret").name(), "index");
        for package in ["h.example/o/r", "h.example:443", "[::1]:8443/a"] {
            assert_eq!(key(package).unwrap(), package);
        }
        for wrong in ["", "H.example", "h.example/", "h.example/../x", "h.example/a/b/c", "h ex/a"] {
            assert!(key(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_signed_link_is_kept_without_its_signature_and_in_one_folder() {
        let (one, two) = (
            Address::read("/https/h/x", "X-Amz-Signature=1&n=2").unwrap(),
            Address::read("/https/h/x", "X-Amz-Signature=9&n=2").unwrap(),
        );
        assert_eq!(one.shown(), "https://h/x?X-Amz-Signature=***&n=2");
        assert_eq!(one.folder(), two.folder());
        assert_ne!(one.folder(), Address::read("/https/h/x", "n=3").unwrap().folder());
        assert!(one.whole().contains("Signature=1"));
    }
}
