//! Fills a site's `generic-local` repository in one commit: `fill STATE-FOLDER FILES`.
//!
//! For the start-up measurement. It goes through the commit gate like everything else; all files
//! have the same bytes, because what is measured is the number of records.

use std::{collections::BTreeMap, sync::Arc};

use cofferdam_blobs::LocalBlobs;
use cofferdam_format_kit::{Change, DoorExt as _, Draft, DraftFile};
use cofferdam_registry::{Cause, Commit, Registry, RegistryParts};
use cofferdam_store::Db;
use cofferdam_types::{Digests, Error, Result, time::SystemClock};
use serde_json::json;

/// Files in one folder.
const FOLDER: usize = 1000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let usage = || Error::invalid("usage", "usage: fill STATE-FOLDER FILES");
    let mut arguments = std::env::args().skip(1);
    let home = std::path::PathBuf::from(arguments.next().ok_or_else(usage)?);
    let files: usize = arguments.next().and_then(|n| n.parse().ok()).ok_or_else(usage)?;
    let registry = Registry::new(RegistryParts {
        db: Db::open_sqlite(&home.join("site.db")).await?,
        blobs: Arc::new(LocalBlobs::open(&home.join("blobs"))?),
        formats: vec![Arc::new(cofferdam_format_generic::Generic)],
        upstreams: BTreeMap::new(),
        clock: Arc::new(SystemClock),
        public_url: "http://site.example".into(),
    });
    let repository = registry.repository(&mut registry.db().read().await?, "generic-local").await?;
    let digests = registry.door().put_bytes("a file\n".into()).await?;
    let changes: Vec<_> = (0..files).map(|n| change(n, &digests)).collect();
    registry.commit(&repository, &changes, Commit { actor: "system:fill", cause: Cause::Publish }).await?;
    registry.db().close().await;
    Ok(())
}

fn change(n: usize, digests: &Digests) -> Change {
    let (folder, file) = (format!("folder-{}", n / FOLDER + 1), format!("file-{}.txt", n % FOLDER));
    let path = format!("{folder}/{file}");
    let one = DraftFile { path, role: "file".into(), digests: digests.clone(), meta: json!({}) };
    Change::Release(Draft {
        package: folder.clone(),
        display: folder,
        version: file,
        meta: json!({}),
        files: vec![one],
        pointers: Vec::new(),
        published: None,
        yanked: None,
    })
}
