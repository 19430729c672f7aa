//! The style sheet and the script, inside the binary, each under a name that holds its hash: what
//! is cached under a name can never be wrong, so it may be kept for ever.

use std::sync::LazyLock;

use cofferdam_types::Sha256;

/// A file that pages refer to.
#[derive(Debug)]
pub struct Asset {
    /// Its name below `/assets/`, with the first half of its hash.
    pub name: String,
    /// Its media type.
    pub media_type: &'static str,
    /// Its text.
    pub text: &'static str,
    /// Its strong entity tag, with the quotes.
    pub etag: String,
}

static ASSETS: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    [
        asset_of("style", "css", "text/css; charset=utf-8", include_str!("../assets/style.css")),
        asset_of("live", "js", "text/javascript; charset=utf-8", include_str!("../assets/live.js")),
        asset_of("icon", "svg", "image/svg+xml", include_str!("../assets/icon.svg")),
    ]
});

fn asset_of(stem: &str, ending: &str, media_type: &'static str, text: &'static str) -> Asset {
    let hash = Sha256::of(text.as_bytes()).to_hex();
    Asset { name: format!("{stem}-{}.{ending}", &hash[..32]), media_type, text, etag: format!("\"{hash}\"") }
}

/// The asset of a name, if there is one.
#[must_use]
pub fn asset(name: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|a| a.name == name)
}

/// The style sheet.
#[must_use]
pub fn style() -> &'static Asset {
    &ASSETS[0]
}

/// The script that follows logs.
#[must_use]
pub fn script() -> &'static Asset {
    &ASSETS[1]
}

/// The icon.
#[must_use]
pub fn icon() -> &'static Asset {
    &ASSETS[2]
}
