//! What of an answer is kept: its status, the headers that matter, and what it depended on.
//!
//! The headers are a list of those that clients act upon; none of them is a credential, and a link in
//! `Location` loses those that its query carries. Must never keep a cookie.

use std::collections::BTreeMap;

use cofferdam_format_kit::{Draft, DraftFile, FileRef};
use cofferdam_types::{
    Digests, Sha256,
    address::{HIDDEN, address_without_secrets},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::coords::Address;

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
    "x-checksum-md5",
    "x-checksum-sha1",
    "x-checksum-sha256",
    "x-checksum-sha512",
    "x-linked-etag",
    "x-linked-size",
    "x-repo-commit",
];

/// Headers of requests that upstream is asked with. Nothing else goes out, so no credential does.
const REQUEST: &[&str] = &["accept", "accept-encoding", "accept-language", "user-agent"];

/// Headers of requests on which an answer may depend, if it says so in `Vary`.
const VARY: &[&str] = &["accept", "accept-language"];

/// Bytes of one kept header at the most.
const MAX_HEADER: usize = 4096;

/// Everything of an answer but its body: the metadata of its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// The address, without credentials.
    pub url: String,
    /// The status.
    pub status: u16,
    /// The headers, by name in lower case.
    pub headers: BTreeMap<String, String>,
    /// The headers of the request that the answer depended on, with their values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub vary: BTreeMap<String, String>,
}

impl Kept {
    /// What is kept of an answer to a request with the headers `asked`.
    pub fn of(address: &Address, asked: &HeaderMap, status: StatusCode, headers: &HeaderMap) -> Self {
        let mut kept = BTreeMap::new();
        for name in ANSWER {
            let values: Vec<&str> = headers.get_all(*name).iter().filter_map(|v| v.to_str().ok()).collect();
            if values.is_empty() {
                continue;
            }
            let mut value = values.join(", ");
            if *name == "location" {
                value = address_without_secrets(&value);
            }
            if value.len() <= MAX_HEADER {
                kept.insert((*name).to_owned(), value);
            }
        }
        let depends = headers.get_all(header::VARY).iter().filter_map(|v| v.to_str().ok());
        let depends: Vec<String> =
            depends.flat_map(|v| v.split(',')).map(|n| n.trim().to_lowercase()).collect();
        let vary = VARY.iter().filter(|n| depends.iter().any(|d| d == *n || d == "*"));
        let vary = vary.filter_map(|n| Some(((*n).to_owned(), asked.get(*n)?.to_str().ok()?.to_owned())));
        Self { url: address.shown(), status: status.as_u16(), headers: kept, vary: vary.collect() }
    }

    /// Reads a file's metadata; `None` for another address's.
    pub fn from_file(file: &FileRef, address: &Address) -> Option<Self> {
        let kept: Self = serde_json::from_value(file.meta.clone()).ok()?;
        (kept.url == address.shown()).then_some(kept)
    }

    /// Whether a request with these headers may be answered with it.
    pub fn suits(&self, asked: &HeaderMap) -> bool {
        let same = |(name, value): (&String, &String)| asked.get(name).is_some_and(|v| v == value.as_str());
        self.vary.iter().all(same) && self.encodings().all(|e| accepts_encoding(asked, e))
    }

    fn encodings(&self) -> impl Iterator<Item = &str> {
        let text = self.headers.get("content-encoding").map_or("", String::as_str);
        text.split(',').map(str::trim).filter(|e| !e.is_empty() && !e.eq_ignore_ascii_case("identity"))
    }

    /// Whether a credential was taken out of where it leads.
    pub fn leads_to_a_secret(&self) -> bool {
        self.headers.get("location").is_some_and(|l| l.contains(&format!("={HIDDEN}")))
    }

    /// Whether two answers say the same. Dates and tags are no difference: servers of one service have
    /// their own.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let same = |name: &str| self.headers.get(name) == other.headers.get(name);
        self.status == other.status
            && self.vary == other.vary
            && same("location")
            && same("content-type")
            && same("content-encoding")
    }

    /// Whether this could have been made by [`Kept::of`]: for what a transfer claims.
    pub fn is_sound(&self) -> bool {
        let text = |v: &String| v.len() <= MAX_HEADER && HeaderValue::from_str(v).is_ok();
        let known = |list: &[&str], map: &BTreeMap<String, String>| {
            map.iter().all(|(name, value)| list.contains(&name.as_str()) && text(value))
        };
        let clean = self.headers.get("location").is_none_or(|l| address_without_secrets(l) == *l);
        StatusCode::from_u16(self.status).is_ok_and(is_kept)
            && clean
            && known(ANSWER, &self.headers)
            && known(VARY, &self.vary)
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

    /// The release that it is: one file.
    pub fn draft(&self, address: &Address, digests: Digests) -> Draft {
        let number = self.number(&digests.sha256);
        let version = format!("{}~{}", address.name(), number.get(..12).unwrap_or_default());
        let path = self.path(address, &digests.sha256);
        let file = DraftFile { path, role: "answer".into(), digests, meta: json!(self) };
        Draft {
            package: address.package(),
            display: address.package(),
            version,
            meta: json!({ "url": self.url, "status": self.status }),
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
    fn what_says_later_is_no_answer() {
        let kept = |code| is_kept(StatusCode::from_u16(code).unwrap());
        assert!([200, 302, 401, 403, 404, 410].into_iter().all(kept));
        assert!(![206, 304, 408, 429, 500, 502, 503].into_iter().any(kept));
    }
}
