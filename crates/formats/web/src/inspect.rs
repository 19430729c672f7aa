//! What of an answer is kept: its status, the headers that matter, and what it depended on.
//!
//! The headers are a list of those that clients act upon; none of them is a credential, and the addresses in
//! `Location` and `Link` lose those that they carry. Must never keep a cookie.

use std::collections::BTreeMap;

use cofferdam_format_kit::{Connection, Draft, DraftFile, FileRef};
use cofferdam_types::{
    Digests, Sha256,
    address::{HIDDEN, address_without_secrets},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{coords::Address, image};

/// Headers of answers that are kept.
const ANSWER: &[&str] = &[
    "content-digest",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-md5",
    "content-type",
    "digest",
    "docker-content-digest",
    "docker-distribution-api-version",
    "etag",
    "last-modified",
    "link",
    "location",
    "repr-digest",
    "www-authenticate",
    "x-checksum-md5",
    "x-checksum-sha1",
    "x-checksum-sha256",
    "x-checksum-sha512",
    "x-linked-etag",
    "x-linked-size",
    "x-repo-commit",
];

/// Headers of requests that upstream is asked with. Nothing else goes out, so no credential does.
const REQUEST: &[&str] = &["accept", "accept-encoding", "accept-language", "git-protocol", "user-agent"];

/// Headers of requests on which an answer may depend, if it says so in `Vary`.
const VARY: &[&str] = &["accept", "accept-language", GIT_PROTOCOL];

/// The version of git's protocol that a client wants (gitprotocol-http(5)). Servers say nothing of it in `Vary`.
const GIT_PROTOCOL: &str = "git-protocol";

/// Headers that say something of the body's bytes.
const OF_THE_BODY: &[&str] =
    &["content-digest", "content-encoding", "content-md5", "digest", "etag", "repr-digest"];

/// Headers that lead somewhere, with addresses in them.
const LEADING: &[&str] = &["location", "link"];

/// The field of a release's metadata with what the connection said.
pub const CONNECTION: &str = "connection";

/// Bytes of one kept header at the most.
const MAX_HEADER: usize = 4096;

/// Everything of an answer but its body: the metadata of its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// The address, without credentials.
    pub url: String,
    /// The number of what was asked there by `POST`, if anything was: see [`crate::question`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question: Option<Sha256>,
    /// The status.
    pub status: u16,
    /// The headers, by name in lower case.
    pub headers: BTreeMap<String, String>,
    /// The headers of the request that the answer depended on, with their values; none where the request
    /// did not have the header.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub vary: BTreeMap<String, Option<String>>,
    /// Whether a credential was taken out of where it leads that left no `***` behind: a user and password.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
}

impl Kept {
    /// What is kept of an answer to a request with the headers `asked`.
    pub fn of(address: &Address, asked: &HeaderMap, status: StatusCode, headers: &HeaderMap) -> Self {
        let mut kept = BTreeMap::new();
        let mut changed = false;
        for name in ANSWER {
            let Some(value) = joined(headers, name) else { continue };
            let Some(clean) = clean(name, &value) else { continue };
            changed |= clean != value;
            if clean.len() <= MAX_HEADER {
                kept.insert((*name).to_owned(), clean);
            }
        }
        let depends = joined(headers, "vary").unwrap_or_default().to_lowercase();
        let depends: Vec<&str> = depends.split(',').map(str::trim).collect();
        let git = |name: &str| name == GIT_PROTOCOL && address.is_git();
        let vary = VARY.iter().filter(|n| git(n) || depends.iter().any(|d| d == *n || *d == "*"));
        let mut vary: BTreeMap<String, Option<String>> =
            vary.map(|n| ((*n).to_owned(), joined(asked, n))).collect();
        if address.is_manifest() {
            // The type says to whom it was given, unless it was given to one who does not take it.
            let accept = joined(asked, "accept");
            let says = kept.get("content-type").is_some_and(|t| image::takes(accept.as_deref(), t));
            match status == StatusCode::OK && says {
                true => vary.remove("accept"),
                false => vary.insert("accept".to_owned(), accept),
            };
        }
        let mut kept = Self {
            url: address.shown(),
            question: address.question(),
            status: status.as_u16(),
            headers: kept,
            vary,
            hidden: false,
        };
        kept.hidden = changed && !kept.shows_a_secret();
        kept
    }

    /// Reads a file's metadata; `None` for another address's.
    pub fn from_file(file: &FileRef, address: &Address) -> Option<Self> {
        let kept: Self = serde_json::from_value(file.meta.clone()).ok()?;
        (kept.url == address.shown() && kept.question == address.question()).then_some(kept)
    }

    /// Whether a request with these headers may be answered with it.
    pub fn suits(&self, asked: &HeaderMap) -> bool {
        // A header that was absent is only like one that is absent (RFC 9111, section 4.1).
        let same = |(name, value): (&String, &Option<String>)| joined(asked, name) == *value;
        let encoded = self.encodings().all(|e| accepts_encoding(asked, e));
        if !Address::parse(&self.url).is_ok_and(|a| a.is_manifest()) {
            return self.vary.iter().all(same) && encoded;
        }
        let accept = joined(asked, "accept");
        let takes = || self.headers.get("content-type").is_some_and(|t| image::takes(accept.as_deref(), t));
        let alike = match self.vary.get("accept") {
            Some(was) => image::asks_no_more(accept.as_deref(), was.as_deref()),
            None => self.status != 200 || takes(),
        };
        let rest = self.vary.iter().filter(|(name, _)| *name != "accept").all(same);
        rest && encoded && (alike || (self.status == 200 && takes()))
    }

    fn encodings(&self) -> impl Iterator<Item = &str> {
        let text = self.headers.get("content-encoding").map_or("", String::as_str);
        text.split(',').map(str::trim).filter(|e| !e.is_empty() && !e.eq_ignore_ascii_case("identity"))
    }

    /// Whether a credential was taken out of where it leads, by `Location` or `Link`.
    pub fn leads_to_a_secret(&self) -> bool {
        self.hidden || self.shows_a_secret()
    }

    fn shows_a_secret(&self) -> bool {
        let hidden = format!("={HIDDEN}");
        LEADING.iter().any(|name| self.headers.get(*name).is_some_and(|v| v.contains(&hidden)))
    }

    /// Whether it is a redirect: its body is a text for people whose client does not follow.
    pub fn is_redirect(&self) -> bool {
        (300..400).contains(&self.status)
    }

    /// The same answer without its body, and so without what is said of the body.
    pub fn without_body(mut self) -> Self {
        self.headers.retain(|name, _| !OF_THE_BODY.contains(&name.as_str()));
        self
    }

    /// Whether two answers say the same. Dates and tags are no difference: servers of one service have
    /// their own.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let same = |name: &str| self.headers.get(name) == other.headers.get(name);
        self.status == other.status
            && self.vary == other.vary
            && self.hidden == other.hidden
            && same("location")
            && same("content-type")
            && same("content-encoding")
    }

    /// Whether this could have been made by [`Kept::of`]: for what a transfer claims.
    pub fn is_sound(&self) -> bool {
        let text = |v: &String| v.len() <= MAX_HEADER && HeaderValue::from_str(v).is_ok();
        let sound = |(name, value): (&String, &String)| {
            ANSWER.contains(&name.as_str()) && text(value) && clean(name, value).as_ref() == Some(value)
        };
        let varies = |(name, value): (&String, &Option<String>)| {
            VARY.contains(&name.as_str()) && value.as_ref().is_none_or(text)
        };
        StatusCode::from_u16(self.status).is_ok_and(is_kept)
            && self.headers.iter().all(sound)
            && self.vary.iter().all(varies)
    }

    /// The answer's own number: another status, header or body is another answer.
    fn number(&self, body: &Sha256) -> String {
        let text = serde_json::to_string(self).unwrap_or_default();
        Sha256::of(format!("{text}\n{body}\n").as_bytes()).to_hex()
    }

    /// The path under which it is committed.
    pub fn path(&self, address: &Address, body: &Sha256) -> String {
        let number = self.number(body);
        format!("{}{}", address.folder(), number.get(..32).unwrap_or_default())
    }

    /// The release that it is: one file. What the connection said belongs to the release and not to the answer:
    /// the same answer over another connection is the same answer.
    pub fn draft(&self, address: &Address, digests: Digests, connection: Option<&Connection>) -> Draft {
        let number = self.number(&digests.sha256);
        let version = format!("{}~{}", address.name(), number.get(..12).unwrap_or_default());
        let path = self.path(address, &digests.sha256);
        let mut meta = json!({ "url": self.url, "status": self.status });
        if let Some(connection) = connection {
            meta[CONNECTION] = json!(connection);
        }
        let file = DraftFile { path, role: "answer".into(), digests, meta: json!(self) };
        Draft {
            package: address.package(),
            display: address.package(),
            version,
            meta,
            files: vec![file],
            pointers: Vec::new(),
            published: None,
            yanked: None,
        }
    }
}

/// Statuses that are an answer. Those that say "later", "ask otherwise" or "not with this connection"
/// are none.
pub fn is_kept(status: StatusCode) -> bool {
    match status.as_u16() {
        200 | 203 | 204 | 300 | 301 | 302 | 303 | 307 | 308 => true,
        407 | 408 | 416 | 421 | 425 | 429 | 431 => false,
        other => (400..500).contains(&other),
    }
}

/// The headers that upstream is asked with. Without a word on encodings it is asked for none.
pub fn request_headers(asked: &HeaderMap) -> HeaderMap {
    let mut out = HeaderMap::new();
    for name in REQUEST {
        for value in asked.get_all(*name) {
            out.append(HeaderName::from_static(name), value.clone());
        }
    }
    out.entry(header::ACCEPT_ENCODING).or_insert(HeaderValue::from_static("identity"));
    out
}

/// Every line of a header as one; none where there is no such header.
pub fn joined(headers: &HeaderMap, name: &str) -> Option<String> {
    let values: Vec<&str> = headers.get_all(name).iter().filter_map(|v| v.to_str().ok()).collect();
    (!values.is_empty()).then(|| values.join(", "))
}

/// A header's value without the credentials of the addresses in it; none where that cannot be told.
fn clean(name: &str, value: &str) -> Option<String> {
    match name {
        "location" => Some(address_without_secrets(value)),
        "link" => clean_link(value),
        // A registry's: clients ask its realm. Others ask people for names and passwords, here at our address.
        "www-authenticate" => {
            let bearer = value.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer "));
            (bearer && !names_a_secret(value)).then(|| value.to_owned())
        }
        _ => Some(value.to_owned()),
    }
}

/// The targets of a `Link` stand in angle brackets; its other addresses, such as `anchor`, in quotes
/// (RFC 8288, section 3). What is neither is no address.
fn clean_link(value: &str) -> Option<String> {
    let (mut out, mut rest) = (String::new(), value);
    while let Some(at) = rest.find(['<', '"']) {
        // An escaped quote would shift the pairs: see the end.
        let (before, from) = rest.split_at(at);
        let close = if from.starts_with('<') { '>' } else { '"' };
        let inner = from.get(1..)?;
        let (address, after) = inner.split_at(inner.find(close)?);
        out.push_str(before);
        out.push_str(from.get(..1)?);
        out.push_str(&address_without_secrets(address));
        out.push(close);
        rest = after.get(1..)?;
    }
    out.push_str(rest);
    (!out.contains('\\') && !names_a_secret(&out)).then_some(out)
}

/// Whether a text, as a redirect has one, holds an address with a credential in it.
pub fn names_a_secret(text: &str) -> bool {
    let text = text.replace("&amp;", "&");
    let ends = |c: char| c.is_whitespace() || "<>\"'`()".contains(c);
    text.split(ends).any(|word| word.contains("//") && address_without_secrets(word) != word)
}

fn accepts_encoding(asked: &HeaderMap, encoding: &str) -> bool {
    let values = asked.get_all(header::ACCEPT_ENCODING).iter().filter_map(|v| v.to_str().ok());
    values.flat_map(|v| v.split(',')).any(|part| {
        let mut pieces = part.split(';').map(str::trim);
        let named = pieces.next().is_some_and(|p| p == "*" || p.eq_ignore_ascii_case(encoding));
        named
            && !pieces.any(|p| matches!(p.replace(' ', "").as_str(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn cookies_and_credentials_are_neither_sent_nor_kept() {
        let asked =
            map(&[("authorization", "Bearer x"), ("cookie", "a=b"), ("x-api-key", "k"), ("accept", "*/*")]);
        let sent = request_headers(&asked);
        assert_eq!(sent, map(&[("accept", "*/*"), ("accept-encoding", "identity")]));
        let address = Address::parse("https://h.example/x").unwrap();
        let answer = map(&[("set-cookie", "s=1"), ("location", "https://me:p@s.example/x?sig=1&n=2")]);
        let kept = Kept::of(&address, &asked, StatusCode::FOUND, &answer);
        assert_eq!(kept.headers.len(), 1);
        assert_eq!(kept.headers["location"], "https://s.example/x?sig=***&n=2");
        assert!(kept.leads_to_a_secret() && kept.is_sound());
    }

    #[test]
    fn an_answer_suits_a_request_that_takes_its_encoding_and_asks_alike() {
        let address = Address::parse("https://h.example/x").unwrap();
        let asked = map(&[("accept", "text/plain"), ("accept-encoding", "gzip")]);
        let answer = map(&[("content-encoding", "gzip"), ("vary", "Accept, Accept-Encoding")]);
        let kept = Kept::of(&address, &asked, StatusCode::OK, &answer);
        assert!(kept.suits(&asked));
        assert!(kept.suits(&map(&[("accept", "text/plain"), ("accept-encoding", "br, *;q=0.5")])));
        assert!(!kept.suits(&map(&[("accept", "text/plain"), ("accept-encoding", "gzip;q=0")])));
        assert!(!kept.suits(&map(&[("accept", "text/plain")])));
        assert!(!kept.suits(&map(&[("accept", "*/*"), ("accept-encoding", "gzip")])));
    }

    #[test]
    fn an_answer_that_varies_suits_only_those_who_leave_the_same_header_out() {
        let address = Address::parse("https://h.example/x").unwrap();
        let answer = map(&[("vary", "Accept-Language")]);
        let without = Kept::of(&address, &map(&[]), StatusCode::OK, &answer);
        assert!(without.suits(&map(&[("accept", "text/html")])));
        assert!(!without.suits(&map(&[("accept-language", "de")])));
        let lines = map(&[("accept-language", "de"), ("accept-language", "en")]);
        let with = Kept::of(&address, &lines, StatusCode::OK, &answer);
        assert!(with.suits(&map(&[("accept-language", "de, en")])) && with.is_sound() && without.is_sound());
        assert!(!with.suits(&map(&[("accept-language", "de")])) && !with.suits(&map(&[])));
        let before = serde_json::json!({ "url": "https://h.example/x", "status": 200, "headers": {},
            "vary": { "accept-language": "de" } });
        let before: Kept = serde_json::from_value(before).unwrap();
        assert!(before.suits(&map(&[("accept-language", "de")])), "what earlier versions kept still reads");
    }

    #[test]
    fn links_and_user_names_lose_their_credentials_too() {
        let address = Address::parse("https://h.example/x").unwrap();
        let of = |status, headers: &[(&'static str, &'static str)]| {
            Kept::of(&address, &map(&[]), StatusCode::from_u16(status).unwrap(), &map(headers))
        };
        let next =
            "<https://h.example/x?page=2&private_token=hunter2>; rel=\"next\"; anchor=\"/y?sig=hunter2\"";
        let kept = of(200, &[("link", next), ("link", "</first>; rel=first")]);
        assert_eq!(
            kept.headers["link"],
            "<https://h.example/x?page=2&private_token=***>; rel=\"next\"; anchor=\"/y?sig=***\", </first>; rel=first"
        );
        assert!(kept.leads_to_a_secret() && kept.is_sound());
        for unclear in ["<https://h.example/x?token=hunter2", "</a>; t=\"\\\"</b?sig=hunter2>\\\"\""] {
            assert!(of(200, &[("link", unclear)]).headers.is_empty(), "{unclear}");
        }
        let plain = "<https://h.example/x?page=2>; rel=\"next\"";
        let kept = of(200, &[("link", plain)]);
        assert!(kept.headers["link"] == plain && !kept.leads_to_a_secret());
        let kept = of(302, &[("location", "https://me:hunter2@s.example/x")]);
        assert_eq!(kept.headers["location"], "https://s.example/x");
        assert!(kept.leads_to_a_secret() && kept.is_sound(), "a user leaves no trace in the address");
    }

    #[test]
    fn a_text_with_an_address_that_holds_a_credential_is_known() {
        for (text, secret) in [
            ("<a href=\"https://me:hunter2@s.example/x\">here</a>", true),
            ("<a href='https://s.example/x?n=1&amp;sig=hunter2'>here</a>", true),
            ("go to https://s.example/x?n=1, or write to me@h.example", false),
        ] {
            assert_eq!(names_a_secret(text), secret, "{text}");
        }
    }

    #[test]
    fn a_manifest_is_given_to_whoever_takes_its_type_though_no_vary_says_so() {
        let address = Address::parse("https://r.example/v2/a/manifests/1").unwrap();
        let (list, one) = (map(&[("accept", "x/list, x/one")]), map(&[("accept", "x/one")]));
        let kept = |asked: &HeaderMap, status, kind: &'static str| {
            Kept::of(&address, asked, status, &map(&[("content-type", kind)]))
        };
        let given = kept(&list, StatusCode::OK, "x/list");
        assert!(given.suits(&list) && given.suits(&map(&[])) && given.suits(&map(&[("accept", "*/*")])));
        assert!(!given.suits(&one), "it takes no lists");
        assert!(kept(&one, StatusCode::OK, "x/one").suits(&list), "who takes more takes this");
        let stubborn = kept(&one, StatusCode::OK, "x/list");
        assert!(stubborn.suits(&one) && stubborn.suits(&list), "a registry that gives what it has");
        let nothing = kept(&list, StatusCode::NOT_FOUND, "x/error");
        assert!(nothing.suits(&one) && nothing.suits(&list), "who takes less finds nothing either");
        assert!(!nothing.suits(&map(&[("accept", "x/list, x/other")])), "who takes more may find something");
        assert!(given.is_sound() && stubborn.is_sound() && nothing.is_sound());
    }

    #[test]
    fn only_a_challenge_that_programs_answer_is_kept() {
        for (said, kept) in [
            ("Bearer realm=\"https://auth.example/token\",service=\"r\"", true),
            ("Basic realm=\"your password, please\"", false),
            ("Bearer realm=\"https://auth.example/token?sig=1\"", false),
        ] {
            assert_eq!(clean("www-authenticate", said).is_some(), kept, "{said}");
        }
    }

    #[test]
    fn what_says_later_is_no_answer() {
        let kept = |code| is_kept(StatusCode::from_u16(code).unwrap());
        assert!([200, 302, 401, 403, 404, 410].into_iter().all(kept));
        assert!(![206, 304, 408, 429, 500, 502, 503].into_iter().any(kept));
    }
}
