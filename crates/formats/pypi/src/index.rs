//! The simple repository API's documents: one list of files, written as JSON and as HTML.
//!
//! Both forms come from the same [`ProjectPage`], so they cannot tell different things. All
//! addresses are relative: a document is the same whatever the site is called, and both sides of
//! the gap can prove it by its digest.

use std::collections::BTreeMap;

use cofferdam_format_kit::{Document, FileRef, PackageView, ReleaseState, ReleaseView, View, html_text};
use cofferdam_types::Result;
use serde::{Deserialize, Serialize};

use crate::{
    coords::{self, escape},
    inspect::FileMeta,
};

/// JSON form, version 1 (simple repository API, PEP 691).
pub(crate) const JSON_V1: &str = "application/vnd.pypi.simple.v1+json";
/// HTML form, version 1.
pub(crate) const HTML_V1: &str = "application/vnd.pypi.simple.v1+html";
/// HTML as browsers and old clients ask for it.
pub(crate) const TEXT_HTML: &str = "text/html; charset=utf-8";

/// The version of the API that pages with sizes and version lists follow (PEP 700).
const API_VERSION: &str = "1.1";
/// The version for pages of an upstream that told fewer facts.
const OLD_API_VERSION: &str = "1.0";
/// Packages read from the view at once.
const PAGE: usize = 1000;

/// Whether something is there, or what its digests are: `true`, `false` or a table of hashes
/// (`core-metadata`, PEP 714).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Presence {
    /// It is there, or not, and nothing more is known.
    Flag(bool),
    /// It is there with these digests.
    Hashes(BTreeMap<String, String>),
}

/// `false`, `true`, or the reason (PEP 592).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Yanked {
    /// Yanked or not, without a reason.
    Flag(bool),
    /// Yanked for this reason.
    Reason(String),
}

impl Default for Yanked {
    fn default() -> Self {
        Self::Flag(false)
    }
}

impl Yanked {
    /// The reason, empty when none was given; `None` when it is not yanked.
    pub(crate) fn reason(&self) -> Option<String> {
        match self {
            Self::Flag(false) => None,
            Self::Flag(true) => Some(String::new()),
            Self::Reason(reason) => Some(reason.clone()),
        }
    }

    /// The other way round.
    fn from_reason(reason: Option<&str>) -> Self {
        match reason {
            None => Self::Flag(false),
            Some("") => Self::Flag(true),
            Some(reason) => Self::Reason(reason.to_owned()),
        }
    }
}

/// Some indexes write `null` where the specification has `false`.
fn or_not<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Yanked, D::Error> {
    Option::<Yanked>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// One file of a project page, ours or upstream's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct FileEntry {
    /// The file's name.
    pub filename: String,
    /// Where it is, relative to the page or absolute.
    pub url: String,
    /// Digests by algorithm.
    #[serde(default)]
    pub hashes: BTreeMap<String, String>,
    /// Which Pythons it runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requires_python: Option<String>,
    /// Bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload_time: Option<String>,
    /// Whether it is yanked.
    #[serde(default, deserialize_with = "or_not")]
    pub yanked: Yanked,
    /// Whether `<url>.metadata` is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core_metadata: Option<Presence>,
    /// The older name of the same fact, for pip 22.3 to 23.2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    // pip 22.3 to 23.0 fails on a `dist-info-metadata` that is not a text; this spelling is the one that
    // they pass over and that the largest index uses for the same reason.
    #[serde(rename = "data-dist-info-metadata", alias = "dist-info-metadata")]
    pub dist_info_metadata: Option<Presence>,
    /// Where upstream has the file's attestations (PEP 740). Read from upstream only: its address is none of
    /// ours, and an index that writes something else than a text has none.
    #[serde(default, skip_serializing)]
    pub provenance: Option<serde_json::Value>,
}

/// `meta` of every document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Meta {
    /// `major.minor`.
    pub api_version: String,
}

/// A project page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProjectPage {
    /// API version.
    pub meta: Meta,
    /// Normalised name.
    pub name: String,
    /// Every version that has a file, oldest first.
    #[serde(default)]
    pub versions: Vec<String>,
    /// The files.
    pub files: Vec<FileEntry>,
}

impl ProjectPage {
    /// A page with the API version that its facts allow.
    pub(crate) fn new(name: &str, versions: Vec<String>, files: Vec<FileEntry>) -> Self {
        let complete = files.iter().all(|f| f.size.is_some());
        let api_version = if complete { API_VERSION } else { OLD_API_VERSION }.to_owned();
        Self { meta: Meta { api_version }, name: name.to_owned(), versions, files }
    }

    /// The page of a committed package.
    pub(crate) fn of(package: &PackageView) -> Self {
        let mut releases: Vec<&ReleaseView> = package.releases.iter().collect();
        releases.sort_by(|a, b| coords::compare_versions(&a.version, &b.version));
        let versions = releases.iter().map(|r| r.version.clone()).collect();
        let files = releases.iter().flat_map(|r| release_files(&package.key, r)).collect();
        Self::new(&package.key, versions, files)
    }

    /// The JSON form.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The HTML form (frozen by PEP 833: it tells less than the JSON form).
    pub(crate) fn to_html(&self) -> Vec<u8> {
        let mut out = html_head(&self.meta.api_version, &format!("Links for {}", self.name));
        for file in &self.files {
            html_link(&mut out, file);
        }
        out.push_str("</body>\n</html>\n");
        out.into_bytes()
    }
}

/// The files of one release that installers may choose, in the order of their names.
pub(crate) fn release_files(key: &str, release: &ReleaseView) -> Vec<FileEntry> {
    let mut files: Vec<&FileRef> = release.files.iter().filter(|f| is_distribution(f)).collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files.into_iter().map(|file| entry(key, release, file)).collect()
}

/// Whether a file is one that installers choose, rather than its metadata.
pub(crate) fn is_distribution(file: &FileRef) -> bool {
    matches!(file.role.as_str(), "wheel" | "sdist")
}

fn entry(key: &str, release: &ReleaseView, file: &FileRef) -> FileEntry {
    let filename = file.path.rsplit('/').next().unwrap_or_default();
    let meta = FileMeta::of(&file.meta);
    let beside = format!("{}.metadata", file.path);
    let metadata = release
        .files
        .iter()
        .find(|f| f.path == beside)
        .map(|f| Presence::Hashes(BTreeMap::from([("sha256".to_owned(), f.sha256.to_hex())])));
    let yanked = match release.state {
        ReleaseState::Yanked => Some(release.yank_reason.as_str()),
        ReleaseState::Admitted => meta.yanked.as_deref(),
    };
    FileEntry {
        filename: filename.to_owned(),
        url: relative_url(key, filename),
        hashes: BTreeMap::from([("sha256".to_owned(), file.sha256.to_hex())]),
        requires_python: meta.requires_python,
        size: Some(file.size),
        upload_time: Some(meta.upload_time.unwrap_or(file.added).to_string()),
        yanked: Yanked::from_reason(yanked),
        core_metadata: metadata.clone(),
        dist_info_metadata: metadata,
        provenance: None,
    }
}

/// The address of a file as seen from `simple/<key>/`.
pub(crate) fn relative_url(key: &str, filename: &str) -> String {
    format!("../../{}", coords::file_path(key, &escape(filename)))
}

fn html_head(api_version: &str, title: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"pypi:repository-version\" content=\"{}\">\n<title>{}</title>\n</head>\n<body>\n",
        html_text(api_version),
        html_text(title)
    )
}

fn html_link(out: &mut String, file: &FileEntry) {
    use std::fmt::Write as _;
    let fragment = file.hashes.get("sha256").map(|h| format!("#sha256={h}")).unwrap_or_default();
    let _ = write!(out, "<a href=\"{}{}\"", html_text(&file.url), html_text(&fragment));
    if let Some(python) = &file.requires_python {
        let _ = write!(out, " data-requires-python=\"{}\"", html_text(python));
    }
    if let Some(reason) = file.yanked.reason() {
        let _ = write!(out, " data-yanked=\"{}\"", html_text(&reason));
    }
    let metadata = match &file.core_metadata {
        None | Some(Presence::Flag(false)) => None,
        Some(Presence::Flag(true)) => Some("true".to_owned()),
        Some(Presence::Hashes(hashes)) => {
            Some(hashes.get("sha256").map_or_else(|| "true".into(), |h| format!("sha256={h}")))
        }
    };
    if let Some(value) = metadata.map(|v| html_text(&v)) {
        let _ = write!(out, " data-core-metadata=\"{value}\" data-dist-info-metadata=\"{value}\"");
    }
    let _ = writeln!(out, ">{}</a><br>", html_text(&file.filename));
}

/// The documents of one package; none when it has no release.
pub(crate) async fn package_documents(key: &str, view: &dyn View) -> Result<Vec<Document>> {
    let Some(package) = view.package(key).await? else { return Ok(Vec::new()) };
    let page = ProjectPage::of(&package);
    let base = format!("simple/{key}");
    Ok(pair(&base, page.to_json(), page.to_html()))
}

/// The documents of the whole repository: the list of packages.
pub(crate) async fn root_documents(view: &dyn View) -> Result<Vec<Document>> {
    let mut projects: Vec<(String, String)> = Vec::new();
    loop {
        let after = projects.last().map(|(key, _)| key.clone());
        let page = view.packages(after.as_deref(), PAGE).await?;
        let last = page.len() < PAGE;
        projects.extend(page);
        if last {
            break;
        }
    }
    let names: Vec<_> = projects.iter().map(|(_, name)| serde_json::json!({ "name": name })).collect();
    let json = serde_json::json!({ "meta": { "api-version": API_VERSION }, "projects": names });
    let mut html = html_head(API_VERSION, "Simple index");
    for (key, name) in &projects {
        html.push_str(&format!("<a href=\"{}/\">{}</a><br>\n", html_text(key), html_text(name)));
    }
    html.push_str("</body>\n</html>\n");
    Ok(pair("simple", serde_json::to_vec(&json).unwrap_or_default(), html.into_bytes()))
}

fn pair(base: &str, json: Vec<u8>, html: Vec<u8>) -> Vec<Document> {
    vec![
        Document { path: format!("{base}/index.json"), media_type: JSON_V1.into(), bytes: json },
        Document { path: format!("{base}/index.html"), media_type: TEXT_HTML.into(), bytes: html },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_tells_what_json_tells_with_everything_escaped() {
        let hash = "ab".repeat(32);
        let file = FileEntry {
            filename: "foo-1.0-py3-none-any.whl".into(),
            url: relative_url("foo", "foo-1.0+x-py3-none-any.whl"),
            hashes: BTreeMap::from([("sha256".into(), hash.clone())]),
            requires_python: Some(">=3.8,<4".into()),
            size: None,
            upload_time: None,
            yanked: Yanked::Reason("\"broken\" & <old>".into()),
            core_metadata: Some(Presence::Flag(true)),
            dist_info_metadata: None,
            provenance: None,
        };
        let page = ProjectPage::new("foo", vec!["1.0".into()], vec![file]);
        let html = String::from_utf8(page.to_html()).unwrap();
        assert!(
            html.contains(&format!("href=\"../../files/foo/foo-1.0%2Bx-py3-none-any.whl#sha256={hash}\""))
        );
        assert!(html.contains("data-requires-python=\"&gt;=3.8,&lt;4\""));
        assert!(html.contains("data-yanked=\"&quot;broken&quot; &amp; &lt;old&gt;\""));
        assert!(html.contains("data-core-metadata=\"true\" data-dist-info-metadata=\"true\""));
        let json: ProjectPage = serde_json::from_slice(&page.to_json()).unwrap();
        assert_eq!(json, page);
        assert_eq!(json.meta.api_version, "1.0", "without sizes it is not version 1.1");
    }
}
