//! Bringing files from upstream (connected side), and admitting them from a transfer.
//!
//! Upstream publishes no index and mostly no digests: what came is recorded, its SHA-256 is its
//! identity from then on, and a digest that upstream did send along is checked.

use cofferdam_format_kit::{Change, Door, Draft, Recorded, Upstream};
use cofferdam_types::{Error, ErrorKind, Result};
use http::StatusCode;

use crate::{coords, index, inspect, publish};

/// Fetches one file by its path below upstream's root.
pub async fn file(path: &str, upstream: &dyn Upstream, door: &dyn Door) -> Result<Recorded> {
    coords::key(path)?;
    let fetched = upstream.get(&index::encode(path), None).await?;
    match fetched.status {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND | StatusCode::GONE => {
            return Err(Error::not_found(format!("upstream has no file {path}")));
        }
        status => {
            let text = format!("upstream answered {} for {}", status.as_u16(), fetched.url);
            return Err(Error::new(ErrorKind::Unavailable, "upstream-status", text));
        }
    }
    let digests = door.put(fetched.body, publish::MAX_FILE).await?;
    inspect::check(&fetched.headers, &digests)?;
    Ok(Recorded { changes: vec![Change::Release(publish::draft(path, digests))], ..Recorded::default() })
}

/// Makes the release again from a transfer's claim and the bytes. There is nothing inside to look
/// at; what can be checked is that place, name and digests belong together.
pub async fn admit(claim: &Draft, door: &dyn Door) -> Result<Draft> {
    let refuse = |what: &str| {
        let text = format!("the transfer's entry for {} {} {what}", claim.package, claim.version);
        Err(Error::verification("claim-mismatch", text))
    };
    let [file] = claim.files.as_slice() else { return refuse("does not have exactly one file") };
    coords::key(&claim.package)?;
    coords::key(&file.path)?;
    let misplaced = claim.version.contains('/')
        || file.path == coords::ROOT
        || coords::join(&claim.package, &claim.version) != file.path;
    if misplaced || claim.display != claim.package {
        return refuse("has a file in the wrong place");
    }
    let digests = door.digests(&file.digests.sha256).await?;
    if digests != file.digests {
        return refuse("has other digests than its bytes");
    }
    if claim.yanked.is_some() || !claim.pointers.is_empty() {
        return refuse("is yanked or pointed at, which files cannot be");
    }
    Ok(Draft { published: claim.published, ..publish::draft(&file.path, digests) })
}
